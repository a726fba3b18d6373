"""The wheel holds the package and nothing else, and works without the repository."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(wheel):
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = (path.relative_to(ROOT) for path in (ROOT / "jaxnoise").rglob("*") if path.is_file())
    assert files == {path.as_posix() for path in package if "__pycache__" not in path.parts}
    assert "jaxnoise/py.typed" in files


@pytest.mark.slow
def test_wheel_runs_the_first_blocks_of_the_readme(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), str(wheel))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    plain, nnx = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[:2]
    program = f"{plain}\n{nnx}\nprint('ran', jn.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    out = run(sys.executable, "-P", "-c", program, cwd=elsewhere, env=environment)
    assert f"ran {site}" in out
