"""The noise of stochastic gradients, measured."""

from ._norms import squared_norms as squared_norms
from ._per_example import per_example as per_example
from ._profile import NoiseProfile as NoiseProfile
from ._profile import noise_profile as noise_profile
from ._vanishing import VanishingGradients as VanishingGradients
from ._vanishing import vanishing as vanishing
