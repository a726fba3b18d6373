"""Learning rates that change by epoch: the schedules, and their training side by side."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage

from .._common import Curves, checkpoints, say
from ._config import Plan, Task, file_name
from ._problem import Problem
from ._train import METRICS, joined

SMALL_POWERS, LARGE_POWERS = (0.1, 0.5, 0.9, 1), (2, 4, 8)
COSINE_POWER = 10  # p, the default of the schedule's authors
_STEP, _EXPONENTIAL, _EPOCHS = 0.5, 0.94, 200  # the paper's factors, and the epochs they are for


def polynomial(power: float) -> str:
    return f"polynomial, p = {power:g}"


# The authors' final training loss and test accuracy in percent, ResNet18 on CIFAR-100.
AUTHORS = {
    polynomial(0.1): (0.0038, 72.00),
    polynomial(0.5): (0.0024, 72.25),
    polynomial(0.9): (0.0030, 72.18),
    polynomial(1): (0.0032, 72.40),
    polynomial(2): (0.0052, 71.85),
    polynomial(4): (0.0132, 71.82),
    polynomial(8): (0.0505, 70.63),
    "cosine": (0.0034, 72.16),
    "exponential": (0.100, 70.20),
}


def schedules(peak: float, epochs: int) -> dict[str, optax.Schedule]:
    """Title → epoch t = 0, …, T → learning rate.

    The step halves the rate after each fifth of the epochs; the exponential falls by as much in
    all as 0.94 per epoch does in 200.
    """
    powers = (*SMALL_POWERS, *LARGE_POWERS)
    return {
        **{polynomial(p): optax.polynomial_schedule(peak, 0.0, p, epochs) for p in powers},
        "cosine": optax.cosine_decay_schedule(peak, epochs),
        "cosine power": jn.schedules.cosine_power(peak, epochs, COSINE_POWER),
        "step": optax.exponential_decay(peak, -(-epochs // 5), _STEP, staircase=True),
        "exponential": optax.exponential_decay(peak, 1, _EXPONENTIAL ** (_EPOCHS / epochs)),
        "constant": optax.constant_schedule(peak),
    }


def rates_of(peak: float, epochs: int) -> np.ndarray:
    """(schedules, epochs) learning rates."""
    by_title = schedules(peak, epochs).values()
    return np.array([jax.vmap(schedule)(jnp.arange(epochs)) for schedule in by_title])


@functools.cache
def by_epoch(steps: int) -> Callable[..., optax.GradientTransformation]:
    """Plain SGD, with a table of the learning rates of the epochs of so many steps."""

    def sgd(schedule: optax.Schedule, *, rates: jax.Array) -> optax.GradientTransformation:
        return optax.sgd(lambda count: rates[jnp.asarray(count) // steps])

    return sgd


def trained_side_by_side(
    problem: Problem, plan: Plan, task: Task, folder: Path, curves: Curves
) -> dict[str, Any]:
    """Title → record of a schedule; all of them and all seeds are replicas of one program."""
    rates = rates_of(plan.learning_rate, task.epochs)
    titles, seeds = list(schedules(plan.learning_rate, task.epochs)), plan.seeds
    stage = NoiseStage(task.epochs, 1.0, plan.batch_size)
    steps = stage.steps_per_epoch(problem.num_examples)
    say(f"{len(titles)} schedules by epoch, batch size {plan.batch_size} ({task.name})")
    starts = problem.starts
    params, model_state, keys = jax.tree.map(
        lambda x: x[jnp.arange(len(titles) * seeds) % seeds],
        (starts.params, starts.model_state, starts.keys),
    )

    def log(epoch: int, params: Any, model_state: Any, record: dict[str, Any]) -> None:
        for number, title in enumerate(titles):
            name = file_name(task.data, task.network, title)
            curves.log(name, epoch, _part(record, number, seeds))

    fitted = jn.training.fit(
        keys,
        starts.train_loss,
        params,
        model_state,
        by_epoch(steps),
        problem.train,
        stage,
        test_data=problem.test,
        augment=problem.augment,
        replicas=len(keys),
        replica_mode=plan.replica_mode,
        stacked=True,
        hyperparams={"rates": np.repeat(rates, seeds, axis=0)},
        checkpoint_dir=checkpoints(folder, len(keys) * steps * task.epochs),
        on_epoch=log,
    )
    shutil.rmtree(folder, ignore_errors=True)
    record = joined([fitted.history])
    by_title = {name: np.reshape(record[name], (len(titles), seeds, -1)) for name in METRICS}
    return {
        title: {
            **record,
            **{name: rows[number] for name, rows in by_title.items()},
            "learning_rates": rates[number],
            "replica_mode": fitted.replica_mode,
        }
        for number, title in enumerate(titles)
    }


def _part(record: dict[str, Any], number: int, seeds: int) -> dict[str, Any]:
    """The seeds of one schedule in what is recorded of all replicas."""
    own = slice(number * seeds, (number + 1) * seeds)
    parts = {
        part: {name: values[own] for name, values in record[part].items()}
        for part in ("train", "test")
    }
    return {**record, **parts}
