"""Stages of training, each with its own learning rate and batch size, hence its own noise."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .._checks import check_count, check_kind, check_not_negative


@dataclasses.dataclass(frozen=True)
class NoiseStage:
    """A stretch of training at one learning rate and one batch size.

    Attributes:
      epochs: passes over the data, at least 1.
      learning_rate: step size, at least 0.
      batch_size: examples per step, at least 1.

    Example:
      >>> import jaxnoise as jn
      >>> jn.schedules.NoiseStage(epochs=2, learning_rate=0.1, batch_size=8).steps_per_epoch(20)
      3
    """

    epochs: int
    learning_rate: float
    batch_size: int

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
            object.__setattr__(self, name, int(value))
        check_not_negative(self.learning_rate, "learning_rate")

    def steps_per_epoch(self, num_examples: int) -> int:
        """⌈num_examples / batch_size⌉: the last step of an epoch is a full one, too."""
        return math.ceil(num_examples / self.batch_size)


def stage_schedule(stages: Sequence[NoiseStage], num_examples: int) -> optax.Schedule:
    """The learning rate by step of training that goes through `stages`.

    Args:
      stages: one or more stages, in order.
      num_examples: number of examples in the data.

    Returns:
      A schedule, step count → learning rate; past the end the last one stays.

    Raises:
      ValueError: if there are no stages, or no examples.

    Example:
      >>> import jaxnoise as jn
      >>> stages = [jn.schedules.NoiseStage(1, 0.1, 8), jn.schedules.NoiseStage(1, 0.01, 16)]
      >>> schedule = jn.schedules.stage_schedule(stages, num_examples=16)
      >>> [round(float(schedule(step)), 3) for step in range(4)]
      [0.1, 0.1, 0.01, 0.01]
    """
    return by_stage(
        lambda: jnp.stack([jnp.asarray(stage.learning_rate, float) for stage in stages]),
        stages,
        num_examples,
    )


def by_stage(
    values: Callable[[], jax.Array], stages: Sequence[NoiseStage], num_examples: int
) -> Callable[[Any], jax.Array]:
    """Step count → the stage's of the (num_stages,) values that `values` makes."""
    if not stages:
        raise ValueError("stages is empty: give at least one NoiseStage")
    check_count(num_examples, "num_examples")
    for stage in stages:
        check_kind(stage, "each of the stages", NoiseStage)
    starts, total = [], 0
    for stage in stages[:-1]:
        total += stage.epochs * stage.steps_per_epoch(num_examples)
        starts.append(total)

    def schedule(count):
        return values()[jnp.searchsorted(jnp.array(starts, int), count, side="right")]

    return schedule
