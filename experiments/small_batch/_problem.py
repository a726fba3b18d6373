"""A network on a data set: examples, initial parameters of every seed, losses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from .._common import Starts, images_of, is_cifar, pick, starts_of
from ._config import Plan, Task

HELD_OUT = 0.2  # of the training examples, while a learning rate is chosen
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """All that training needs.

    Attributes:
      description: of the data set.
      train: training examples, on the device.
      test: test examples likewise.
      subset: those training examples over which tr Σ is measured; None for not at all.
      starts: the network from the initial parameters of every seed.
      augment: augmentation of a training batch, or None.
    """

    description: str
    train: Any
    test: Any
    subset: Any
    starts: Starts
    augment: Any


def problem_of(dataset: jn.data.Dataset, plan: Plan, task: Task) -> Problem:
    """Draws the examples and the initial parameters.

    Raises:
      ValueError: if the data are no square images with labels, or too few.
    """
    train, test = images_of(dataset, task.examples, task.test_examples)
    n = len(train["label"])
    kept, _ = held_out(train)
    if max(plan.batch_sizes) > len(kept["label"]):
        raise ValueError(
            f"--batch-sizes: {max(plan.batch_sizes)} exceeds the {len(kept['label'])} of {n} "
            f"training examples of {task.data} that are left while a learning rate is chosen"
        )
    cifar = is_cifar(task.data)
    inputs = normalised if cifar else "image"
    return Problem(
        description=dataset.info.description,
        train=train,
        test=test,
        subset=pick(train, min(task.noise_examples, n), seed=1) if task.noise_examples else None,
        starts=starts_of(task.network, train, test, plan.seeds, inputs),
        augment=crop_and_flip if cifar else None,
    )


def held_out(train: Any) -> tuple[Any, Any]:
    """The training examples without their last fifth, and that fifth; they are in random order."""
    n = len(train["label"])
    kept = n - int(np.ceil(HELD_OUT * n))
    return jax.tree.map(lambda x: x[:kept], train), jax.tree.map(lambda x: x[kept:], train)


def normalised(batch: Any) -> jax.Array:
    """CIFAR's images less their mean, over the standard deviation that the paper takes."""
    return (batch["image"] / 255.0 - jnp.array(_MEAN)) / jnp.array(_STD)


def crop_and_flip(key: jax.Array, batch: Any) -> Any:
    return jn.data.compose(jn.data.random_crop, jn.data.random_flip)(key, batch)
