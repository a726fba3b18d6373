"""One optimizer trained from all seeds at once, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jaxnoise as jn

from .._common import Curves, checkpoints, remembered, replica, say
from ._config import Family, Plan, Task, stages_of
from ._methods import METHODS, mean_step, name_of, optimizer
from ._problem import Problem, held_out

NOISE_OF = ("base", "paper", "reference", "mean_step")


@dataclasses.dataclass(frozen=True)
class Run:
    """One optimizer at one learning rate, trained on one problem."""

    task: Task
    family: Family
    batch_size: int
    method: str
    period: int
    factor: float = 1.0  # of the learning rate, where it is searched for
    searching: bool = False  # whether the last fifth of the training examples is the test set

    @property
    def learning_rate(self) -> float:
        scale = mean_step(self.period) if METHODS[self.method].rate == "mean" else self.factor
        return self.task.learning_rates[self.family] * scale

    @property
    def name(self) -> str:
        parts = [self.task.data, self.task.network, self.family, f"batch_{self.batch_size}"]
        parts.append(f"{self.method}_{self.factor:g}" if self.searching else self.method)
        if METHODS[self.method].has_period:
            parts.append(f"period_{self.period}")
        return "_".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def trained(problem: Problem, plan: Plan, run: Run, folder: Path, curves: Curves) -> dict[str, Any]:
    """Trains all seeds and records their curves; where one diverges, when that was."""
    starts = problem.starts
    train, test = held_out(problem.train) if run.searching else (problem.train, problem.test)
    method, n = METHODS[run.method], len(train["label"])
    stages = stages_of(run.task.epochs, run.batch_size)
    steps = stages[0].steps_per_epoch(n)
    epoch_length = steps if method.by_epoch else None
    make = optimizer(method, run.family, plan.weight_decay, epoch_length)
    draws = plan.option_two and method.pull and method.inner and not run.searching
    if draws:
        make = with_a_draw(make, epoch_length)
    values = {"learning_rate": run.learning_rate, "weight": plan.weight, "period": run.period}
    measures = problem.subset is not None and run.method in NOISE_OF and not run.searching

    def noise_file(epoch: int) -> Path:
        return folder / f"noise_{epoch:05d}.json"

    def after_epoch(epoch: int, params: Any, model_state: Any, record: Any) -> None:
        curves.log(run.name, epoch, record)
        if measures:
            rows = functools.partial(noise_of, problem, params, model_state, plan.seeds)
            remembered(noise_file(epoch), rows)

    say(f"{name_of(run.method, run.family)}, learning rate {run.learning_rate:.3g} ({run.name})")
    diverged_at = None
    try:
        fitted = jn.training.fit(
            starts.keys,
            starts.train_loss,
            starts.params,
            starts.model_state,
            make,
            train,
            stages,
            test_data=test,
            augment=problem.augment,
            replicas=plan.seeds,
            replica_mode=plan.replica_mode,
            stacked=True,
            hyperparams={name: [value] * plan.seeds for name, value in values.items()},
            checkpoint_dir=checkpoints(folder / "checkpoints", steps * run.task.epochs),
            on_epoch=after_epoch,
        )
    except jn.training.NonFiniteLossError as error:
        fitted, diverged_at = error.result, error.step
        say(f"diverged at step {diverged_at}")
    epochs = range(1, len(fitted.history.steps) + 1)
    noise = [remembered(noise_file(epoch), dict) for epoch in epochs] if measures else []
    row = {
        "learning_rate": run.learning_rate,
        "diverged_at": diverged_at,
        "replica_mode": fitted.replica_mode,
        "steps": fitted.history.steps,
        "train_loss": fitted.history.train_loss,
        "train_accuracy": fitted.history.train_accuracy,
        "test_loss": fitted.history.test_loss,
        "test_accuracy": fitted.history.test_accuracy,
        "noise": {key: np.transpose([epoch[key] for epoch in noise]) for key in (noise or [{}])[0]},
        "seconds": float(fitted.history.seconds[-1]) if epochs else 0.0,
    }
    if measures and METHODS[run.method].pull == "constant" and diverged_at is None:
        end, state = replica((fitted.params, fitted.model_state), 0)
        anchor = replica(starts.params, 0)
        row["noise_with_pull"] = noise_with_pull(problem, end, state, anchor, plan.weight)
    if draws and diverged_at is None:
        row["drawn_test_accuracy"] = accuracy_of_the_draw(problem, fitted, plan.seeds)
    shutil.rmtree(folder, ignore_errors=True)
    return row


def noise_of(problem: Problem, params: Any, model_state: Any, seeds: int) -> dict[str, list]:
    """tr Σ, ‖ḡ‖² and the loss of each seed over the subset."""
    rows = []
    for seed in range(seeds):
        w, state = replica((params, model_state), seed)
        loss_fn = problem.starts.loss_fn(w, state, jn.losses.cross_entropy)
        profile = jn.gradients.noise_profile(loss_fn, w, problem.subset)
        loss = jn.training.evaluate(loss_fn, w, problem.subset)["loss"]
        rows.append((profile.covariance_trace, profile.gradient_squared_norm, loss))
    names = ("covariance_trace", "gradient_squared_norm", "loss")
    return {
        name: [float(x) for x in column]
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def noise_with_pull(
    problem: Problem, params: Any, model_state: Any, anchor: Any, weight: float
) -> float:
    """tr Σ of the gradients with the pull λ(w − a), over tr Σ without it, at the same w."""
    loss_fn = problem.starts.loss_fn(params, model_state, jn.losses.cross_entropy)

    def pulled(w: Any, batch: Any) -> jax.Array:
        distance = optax.tree.norm(optax.tree.sub(w, anchor), squared=True)
        return loss_fn(w, batch) + weight / 2 * distance

    traces = [
        jn.gradients.noise_profile(of, params, problem.subset).covariance_trace
        for of in (pulled, loss_fn)
    ]
    return float(traces[0] / traces[1])


@functools.cache
def with_a_draw(make: Any, epoch_length: int | None) -> Any:
    """The optimizer with one of its anchors kept, drawn uniformly."""

    def both(schedule: optax.Schedule, *, period: Any, **others: Any) -> Any:
        draw = jn.transforms.uniform_iterate(jax.random.key(1), period, epoch_length=epoch_length)
        return optax.chain(make(schedule, period=period, **others), draw)

    return both


def accuracy_of_the_draw(problem: Problem, fitted: Any, seeds: int) -> list[float]:
    """Test accuracy of the drawn anchor of each seed, with the last state of normalisation."""
    drawn = jax.vmap(jn.transforms.finish_iterate)(fitted.opt_state, fitted.params)
    accuracies = []
    for seed in range(seeds):
        w, state = replica((drawn, fitted.model_state), seed)
        loss_fn = problem.starts.loss_fn(w, state, jn.losses.classification)
        accuracies.append(float(jn.training.evaluate(loss_fn, w, problem.test)["accuracy"]))
    return accuracies
