"""All learning rates and seeds of one batch size trained side by side, and measured at the end."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import jaxnoise as jn

from .._common import Curves, checkpoints, remembered, replica, say
from ._config import Plan
from ._measure import gradient_norms, measured
from ._noise import noise_at
from ._problem import Problem

CEILING = 1e30  # the loss that is recorded where it is larger or no number
_MOST_STEPS = 2**31 - 1


def runs_of(plan: Plan) -> list[tuple[float, int]]:
    """Learning rate and seed of the runs of one batch size, in the order of the replicas."""
    return [(rate, seed) for rate in plan.learning_rates for seed in range(plan.seeds)]


def trained(
    problem: Problem,
    plan: Plan,
    batch_size: int,
    starts: list[dict[str, Any]],
    folder: Path,
    curves: Curves,
) -> dict[str, Any]:
    """Trains every learning rate and seed at one batch size.

    A run that meets a loss or a gradient that is not finite stays where it is, and the others go
    on.

    Args:
      problem: network and data.
      plan: learning rates, seeds, epochs.
      batch_size: b.
      starts: what `measured_starts` gives.
      folder: for what has to outlast an interruption.
      curves: where the training curves go.

    Returns:
      "runs", what `measured` gives for each, with "gradient_norms", those after every epoch;
      "noise", epoch → what `noise_at` gives, along the run of the plan's probe.
    """
    runs, own = runs_of(plan), problem.starts
    seeds = np.array([seed for _, seed in runs])
    of_runs = functools.partial(jax.tree.map, lambda x: x[seeds])
    name = f"batch_{batch_size}"
    stage = jn.schedules.NoiseStage(plan.epochs, 1.0, batch_size)
    steps = stage.steps_per_epoch(len(problem.train["label"]))
    probe = None
    if batch_size == plan.probe_batch_size:
        probe = runs.index((plan.probe_learning_rate, 0))
    looks = {plan.epochs // 2, plan.epochs} - {0}

    def epoch_file(epoch: int) -> Path:
        return folder / f"epoch_{epoch:05d}.json"

    def after_epoch(epoch: int, params: Any, model_state: Any, record: Any) -> None:
        curves.log(name, epoch, record)

        def along_the_way() -> dict[str, Any]:
            norms = gradient_norms(own.train_loss, params, model_state, problem.probe)
            found: dict[str, Any] = {"gradient_norms": norms}
            if probe is not None and epoch in looks and np.isfinite(norms[probe]):
                point = replica((params, model_state), probe)
                found["noise"] = noise_at(problem, plan, *point)
            return found

        remembered(epoch_file(epoch), along_the_way)

    say(f"batch size {batch_size}: {len(runs)} runs of {plan.epochs} × {steps} steps")
    fitted = jn.training.fit(
        of_runs(own.keys),
        Partial(bounded, own.train_loss),
        of_runs(own.params),
        of_runs(own.model_state),
        plain_sgd,
        problem.train,
        stage,
        test_data=problem.test,
        evaluate=Partial(evaluated, own.train_loss),
        augment=problem.augment,
        replicas=len(runs),
        replica_mode=plan.replica_mode,
        stacked=True,
        hyperparams={"learning_rate": [rate for rate, _ in runs]},
        checkpoint_dir=checkpoints(folder / "checkpoints", steps * plan.epochs),
        on_epoch=after_epoch,
    )
    epochs = [remembered(epoch_file(k), dict) for k in range(1, plan.epochs + 1)]
    rows = []
    for number, (rate, seed) in enumerate(runs):
        point = replica((fitted.params, fitted.model_state), number)
        start_loss = starts[seed]["train_loss"]
        measure = functools.partial(measured, problem, plan, *point, start_loss)
        row = {"batch_size": batch_size, "learning_rate": rate, "seed": seed}
        row["steps"] = plan.epochs * steps
        row |= remembered(folder / f"run_{number:03d}.json", measure)
        row["gradient_norms"] = [epoch["gradient_norms"][number] for epoch in epochs]
        rows.append(row)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "runs": rows,
        "queries_per_epoch": steps * batch_size,
        "noise": {k + 1: epoch["noise"] for k, epoch in enumerate(epochs) if "noise" in epoch},
        "replica_mode": fitted.replica_mode,
        "seconds": float(fitted.history.seconds[-1]),
    }


def plain_sgd(schedule: optax.Schedule, *, learning_rate: Any) -> optax.GradientTransformation:
    """SGD without momentum, whose steps that are not finite are left out."""
    return optax.chain(
        optax.sgd(learning_rate), optax.apply_if_finite(optax.identity(), _MOST_STEPS)
    )


def bounded(
    train_loss: Any, params: Any, model_state: Any, batch: Any, key: jax.Array
) -> tuple[dict[str, jax.Array], Any]:
    """The metrics of training, of which none is above the ceiling or not a number."""
    metrics, model_state = train_loss.metrics(params, model_state, batch, key)
    return {k: jnp.where(v < CEILING, v, CEILING) for k, v in metrics.items()}, model_state


def evaluated(train_loss: Any, params: Any, model_state: Any, batch: Any) -> dict[str, jax.Array]:
    return train_loss.evaluate(params, model_state, batch)
