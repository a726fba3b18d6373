"""How good predictions are, beyond the loss they were trained with."""

from ._segmentation import SegmentationScores as SegmentationScores
from ._segmentation import segmentation_scores as segmentation_scores
