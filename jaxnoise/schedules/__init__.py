"""Schedules of the learning rate and the batch size."""

from ._noise import NoiseStage as NoiseStage
from ._noise import stage_schedule as stage_schedule
from ._smoothing import degree_of_smoothing as degree_of_smoothing
