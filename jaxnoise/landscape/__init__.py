"""The loss around the parameters, along lines and over planes."""

from ._directions import normalize_direction as normalize_direction
from ._directions import random_directions as random_directions
from ._grid import LossGrid as LossGrid
from ._grid import LossLine as LossLine
from ._grid import loss_grid as loss_grid
from ._grid import loss_line as loss_line
from ._grids import LossGrids as LossGrids
from ._grids import loss_grids as loss_grids
from ._trajectory import TrajectoryPlane as TrajectoryPlane
from ._trajectory import trajectory_plane as trajectory_plane
from ._vtk import save_vtk as save_vtk
