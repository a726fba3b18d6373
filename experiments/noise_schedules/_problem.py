"""A network on a data set: examples, initial parameters of every seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import jaxnoise as jn

from .._common import (
    Starts,
    crop_flip_turn,
    images_of,
    is_cifar,
    pick,
    replica,
    standardized,
    starts_of,
)
from . import _imagenet
from ._config import Plan, Task
from ._methods import STARTS, runs_of, stages_of


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """All that training needs.

    Attributes:
      description: of the data set.
      train: training examples, on the device, or a stream of them.
      test: test examples likewise.
      num_examples: number of the training examples.
      num_test: number of the test examples.
      probe: those training examples over which C is measured.
      starts: the network from the initial parameters of every seed.
      augment: augmentation of a training batch, or None.
    """

    description: str
    train: Any
    test: Any
    num_examples: int
    num_test: int
    probe: Any
    starts: Starts
    augment: Any

    def noise_stds(self, params: Any, model_state: Any) -> list[float]:
        """C of each seed at its present parameters."""
        found = []
        for seed in range(len(self.starts.keys)):
            w, state = replica((params, model_state), seed)
            loss_fn = self.starts.loss_fn(w, state, jn.losses.cross_entropy)
            found.append(float(jn.gradients.noise_std(loss_fn, w, self.probe)))
        return found


def problem_of(dataset: jn.data.Dataset, plan: Plan, task: Task) -> Problem:
    """Draws the examples and the initial parameters.

    Raises:
      ValueError: if the data are no square images with labels, or too few.
    """
    if _imagenet.is_imagenet(task.data):
        train = _imagenet.some(dataset.train, task.examples)
        test = _imagenet.some(dataset.test, task.test_examples)
        n, num_test = len(train), len(test)
    else:
        train, test = images_of(dataset, task.examples, task.test_examples)
        n, num_test = len(train["label"]), len(test["label"])
    runs = [run for start in STARTS for run in runs_of(task, start, plan).values()]
    most = max(stage.batch_size for run in runs for stage in stages_of(run, plan))
    if most > n:
        raise ValueError(
            f"--data {task.data}: the largest batch of a stage has {most} examples, the training "
            f"set {n}: lower --grow-from, --hybrid-from or --batch-size"
        )
    if _imagenet.is_imagenet(task.data):
        probe = _imagenet.probe_of(train, task.probe_examples)
        starts = _imagenet.starts(task, dataset.info.num_classes, probe, plan.seeds)
        augment = _imagenet.cut_and_flip
    else:
        probe = pick(train, min(task.probe_examples, n), seed=1)
        inputs = standardized if is_cifar(task.data) else "image"
        starts = starts_of(task.network, train, test, plan.seeds, inputs)
        augment = crop_flip_turn if is_cifar(task.data) else None
    description = dataset.info.description
    return Problem(description, train, test, n, num_test, probe, starts, augment)
