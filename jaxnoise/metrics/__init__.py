"""How good predictions are, beyond the loss they were trained with."""

from ._boundaries import BestThreshold as BestThreshold
from ._boundaries import BoundaryScores as BoundaryScores
from ._boundaries import best_threshold as best_threshold
from ._boundaries import boundary_scores as boundary_scores
from ._boundaries import v_info as v_info
from ._boundaries import v_rand as v_rand
from ._images import psnr as psnr
from ._images import ssim as ssim
from ._objects import ObjectScores as ObjectScores
from ._objects import object_scores as object_scores
from ._segmentation import SegmentationScores as SegmentationScores
from ._segmentation import segmentation_scores as segmentation_scores
from ._thinning import thin_borders as thin_borders
from ._voxels import VoxelErrors as VoxelErrors
from ._voxels import voxel_errors as voxel_errors
