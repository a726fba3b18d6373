"""Training by stages, whole epochs compiled."""

from ._cycle_gan import cycle_gan as cycle_gan
from ._evaluate import evaluate as evaluate
from ._fit import fit as fit
from ._gan import conditional_gan as conditional_gan
from ._image_pool import ImagePool as ImagePool
from ._image_pool import image_pool as image_pool
from ._state import Best as Best
from ._state import FitResult as FitResult
from ._state import History as History
from ._state import NonFiniteLossError as NonFiniteLossError
