"""A network on a data set: examples, initial parameters of every seed, losses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from .._common import Starts, crop_flip_turn, is_cifar, standardized, starts_of
from ._config import Plan

BATCH = 128  # examples per batch of the sharpness
PROBE = 4096  # most training examples over which C and the norm of the gradient are measured


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """All that training and measuring need.

    Attributes:
      description: of the data set.
      train: training examples in random order, on the device.
      test: test examples.
      probe: those training examples over which gradients are measured.
      batches: those over which the sharpness is.
      starts: the network from the initial parameters of every seed.
      augment: augmentation of a training batch, or None.
    """

    description: str
    train: Any
    test: Any
    probe: Any
    batches: Any
    starts: Starts
    augment: Any


def problem_of(description: str, train: Any, test: Any, plan: Plan) -> Problem:
    """Draws the initial parameters."""
    inputs = standardized if is_cifar(plan.data) else "image"
    return Problem(
        description=description,
        train=train,
        test=test,
        probe=jax.tree.map(lambda x: x[:PROBE], train),
        batches=jax.tree.map(lambda x: x[: plan.sharpness_batches * BATCH], train),
        starts=starts_of(plan.network, train, test, plan.seeds, inputs),
        augment=crop_flip_turn if plan.augment else None,
    )
