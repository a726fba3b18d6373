"""Training by stages, whole epochs compiled."""

from ._evaluate import evaluate as evaluate
from ._fit import fit as fit
from ._gan import conditional_gan as conditional_gan
from ._state import FitResult as FitResult
from ._state import History as History
from ._state import NonFiniteLossError as NonFiniteLossError
