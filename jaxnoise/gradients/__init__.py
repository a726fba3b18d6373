"""The noise of stochastic gradients, measured."""

from ._distribution import Normality as Normality
from ._distribution import noise_projections as noise_projections
from ._distribution import normality as normality
from ._growth import growth_ratio as growth_ratio
from ._noise_std import noise_std as noise_std
from ._noise_std import variance_from_critical_batch as variance_from_critical_batch
from ._norms import squared_norms as squared_norms
from ._norms import squared_norms_and_mean as squared_norms_and_mean
from ._per_example import per_example as per_example
from ._profile import NoiseProfile as NoiseProfile
from ._profile import noise_profile as noise_profile
from ._vanishing import VanishingGradients as VanishingGradients
from ._vanishing import vanishing as vanishing
