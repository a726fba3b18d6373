"""Schedules of the learning rate and the batch size."""

from ._accumulation import accumulation_schedule as accumulation_schedule
from ._cosine_power import cosine_power as cosine_power
from ._decay import admissible_decay as admissible_decay
from ._decay import admissible_probability as admissible_probability
from ._decay import decay_rates as decay_rates
from ._measured import stage_for as stage_for
from ._noise import NoiseStage as NoiseStage
from ._noise import stage_schedule as stage_schedule
from ._smoothing import degree_of_smoothing as degree_of_smoothing
from ._stages import noise_stages as noise_stages
