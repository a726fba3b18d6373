"""What the experiments share: command line, run folder, curves, report."""

from ._classification import Starts as Starts
from ._classification import images_of as images_of
from ._classification import pick as pick
from ._classification import replica as replica
from ._classification import starts_of as starts_of
from ._command_line import main as main
from ._command_line import say as say
from ._curves import Curves as Curves
from ._curves import Log as Log
from ._curves import open_curves as open_curves
from ._environment import environment as environment
from ._paired import LEVEL as LEVEL
from ._paired import paired as paired
from ._paired import significance as significance
from ._paired import what_seeds_can_tell as what_seeds_can_tell
from ._parts import begin as begin
from ._parts import remembered as remembered
from ._report import Report as Report
from ._report import mean_and_std as mean_and_std
from ._report import save_picture as save_picture
from ._report import text_table as text_table
from ._run_folder import write_json as write_json
from ._run_folder import write_text as write_text
