"""What the experiments share: command line, run folder, report."""

from ._command_line import main as main
from ._command_line import say as say
from ._environment import environment as environment
from ._report import Report as Report
from ._report import mean_and_std as mean_and_std
from ._report import save_picture as save_picture
from ._report import text_table as text_table
from ._run_folder import write_json as write_json
from ._run_folder import write_text as write_text
