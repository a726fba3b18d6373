"""A method trained from all seeds at once, stage by stage, with C measured between the stages."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage

from .._common import Curves, checkpoints, remembered, say
from ._config import Plan
from ._methods import METHODS, Run, measured_stage, stages_of
from ._problem import Problem

METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def plain_sgd(schedule: optax.Schedule, *, learning_rate: Any) -> optax.GradientTransformation:
    """SGD without momentum, whose learning rate is not in the compiled program."""
    return optax.sgd(lambda count: learning_rate * schedule(count))


def trained(problem: Problem, plan: Plan, run: Run, folder: Path, curves: Curves) -> dict[str, Any]:
    """Trains all seeds and records curves, learning rates, batch sizes and C of the stages.

    Where a seed diverges, what was recorded ends before that epoch, and "diverged_at" is the step.
    """
    stages = stages_of(run, plan)
    say(f"{METHODS[run.method]}, batch size {run.batch_size} to begin with ({run.name})")
    reached = State(problem.starts.params, problem.starts.model_state, None)
    rates, sizes, noise, histories = [], [], [], []
    diverged_at = mode = None
    for number, stage in enumerate(stages):
        measure = functools.partial(problem.noise_stds, reached.params, reached.model_state)
        noise.append(remembered(folder / f"noise_{number}.json", measure))
        of_seeds = np.full(plan.seeds, stage.learning_rate)
        if run.measures and number:
            first = rates[0] / np.sqrt(sizes[0]) * np.array(noise[0])
            previous = dataclasses.replace(stage, batch_size=sizes[-1])
            of_seeds, stage = measured_stage(
                first * plan.decay**number,
                np.array(noise[-1]),
                (rates[-1], previous),
                plan,
                problem.num_examples,
            )
        rates.append(of_seeds)
        sizes.append(stage.batch_size)
        before = joined(histories)
        log = functools.partial(_log, curves, run.name, before["steps"])
        try:
            fitted = fit_stage(problem, plan, run, number, stage, of_seeds, reached, folder, log)
        except jn.training.NonFiniteLossError as error:
            fitted, diverged_at = error.result, (before["steps"] or [0])[-1] + error.step
            say(f"diverged at step {diverged_at}")
        reached, mode = (
            State(fitted.params, fitted.model_state, fitted.opt_state),
            fitted.replica_mode,
        )
        histories.append(fitted.history)
        if diverged_at is not None:
            break
    if diverged_at is None:
        noise.append(problem.noise_stds(reached.params, reached.model_state))
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "diverged_at": diverged_at,
        "batch_sizes": sizes,
        "learning_rates": rates,
        "noise_stds": noise,
        **joined(histories),
        "replica_mode": mode,
    }


class State(NamedTuple):
    """What goes on from stage to stage, (seeds, …)."""

    params: Any
    model_state: Any
    opt_state: Any


def fit_stage(
    problem: Problem,
    plan: Plan,
    run: Run,
    number: int,
    stage: NoiseStage,
    rates: np.ndarray,
    start: State,
    folder: Path,
    log: Any,
) -> jn.training.FitResult:
    """Trains one stage, each seed at its own learning rate; one program serves all rates."""
    starts = problem.starts
    n = problem.num_examples
    steps = sum(stage.epochs * stage.steps_per_epoch(n) for stage in stages_of(run, plan))
    return jn.training.fit(
        jax.vmap(functools.partial(jax.random.fold_in, data=number))(starts.keys),
        starts.train_loss,
        start.params,
        start.model_state,
        plain_sgd,
        problem.train,
        dataclasses.replace(stage, learning_rate=1.0),
        opt_state=start.opt_state,
        test_data=problem.test,
        augment=problem.augment,
        replicas=plan.seeds,
        replica_mode=plan.replica_mode,
        stacked=True,
        hyperparams={"learning_rate": rates},
        checkpoint_dir=checkpoints(folder / f"stage_{number}", steps),
        on_epoch=log,
    )


def joined(histories: list[jn.training.History]) -> dict[str, Any]:
    """One record of stages that were trained one after another."""
    record: dict[str, Any] = {}
    for name in ("steps", "gradient_queries", "seconds"):
        column: list[Any] = []
        for history in histories:
            before = column[-1] if column else 0
            column += (before + getattr(history, name)).tolist()
        record[name] = column
    for name in METRICS:
        found = [x for x in (getattr(h, name) for h in histories) if x is not None]
        record[name] = np.concatenate(found, axis=-1) if found else []
    return record


def _log(
    curves: Curves,
    name: str,
    steps: list[int],
    epoch: int,
    params: Any,
    model_state: Any,
    record: dict[str, Any],
) -> None:
    """Writes the curves of a stage after those of the stages before it, whose steps are given."""
    so_far = steps[-1] if steps else 0
    curves.log(name, len(steps) + epoch, {**record, "steps": so_far + record["steps"]})
