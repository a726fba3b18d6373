"""The loss around the parameters, along lines and over planes."""

from ._directions import normalize_direction as normalize_direction
from ._directions import random_directions as random_directions
from ._grid import LossGrid as LossGrid
from ._grid import LossLine as LossLine
from ._grid import loss_grid as loss_grid
from ._grid import loss_line as loss_line
