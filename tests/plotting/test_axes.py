import subprocess
import sys


def test_matplotlib_is_imported_by_plotting_alone():
    code = (
        "import sys, jaxnoise as jn; assert 'matplotlib' not in sys.modules; "
        "jn.plotting.surface; assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
