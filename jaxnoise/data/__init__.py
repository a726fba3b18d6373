"""Data sets as in-memory arrays, and augmentation that runs on the device."""

from ._augment import compose as compose
from ._augment import eightfold as eightfold
from ._augment import random_crop as random_crop
from ._augment import random_flip as random_flip
from ._augment import random_quarter_turns as random_quarter_turns
from ._augment import random_rotation as random_rotation
from ._augment import random_symmetry as random_symmetry
from ._builders import digits_builder as digits_builder
from ._dataset import Dataset as Dataset
from ._dataset import DatasetInfo as DatasetInfo
from ._facade_plan import FACADE_CLASSES as FACADE_CLASSES
from ._facades import facades as facades
from ._files import read_idx as read_idx
from ._files import read_libsvm as read_libsvm
from ._files import read_npz as read_npz
from ._load import load as load
from ._membranes import membranes as membranes
from ._patches import assemble as assemble
from ._patches import patches as patches
from ._photographs import sample_photographs as sample_photographs
from ._raindrops import raindrops as raindrops
from ._vessels import vessels as vessels
