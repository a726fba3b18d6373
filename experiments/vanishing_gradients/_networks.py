"""Networks trained by Adam: p_τ, M_τ and N at the last iterate, and mini-batches there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.tree_util import Partial

import jaxnoise as jn

from .._common import images_of, pick, remembered, replica, say, starts_of
from ._config import NetworkTask, Plan
from ._keep import Trajectory, write_iterate
from ._measure import by_name, vanishing_numbers

BATCH_SIZES = (1, 4, 16, 64, 256)
_LEAST_BATCHES = 16  # of the largest size


def network(
    dataset: jn.data.Dataset, plan: Plan, task: NetworkTask, folder: Path
) -> dict[str, Any]:
    """Trains one network, all seeds at once, and measures each seed's solution."""
    seeds = plan.seeds
    train, test = images_of(dataset, task.examples)
    n = len(train["label"])
    subset = pick(train, min(task.subset, n), seed=1)
    starts = starts_of(task.network, train, test, seeds)
    write_iterate(folder, 0, starts.params)
    say(f"{task.network} on {task.data}: training on {n} examples, {seeds} seeds")
    fitted = jn.training.fit(
        starts.keys,
        starts.train_loss,
        starts.params,
        starts.model_state,
        optax.adam(task.learning_rate),
        train,
        jn.schedules.NoiseStage(task.epochs, task.learning_rate, task.batch_size),
        replicas=seeds,
        stacked=True,
        checkpoint_dir=folder / "checkpoints",
        on_epoch=lambda epoch, params, *_: write_iterate(folder, epoch, params),
    )

    def measured(seed: int) -> dict[str, Any]:
        say(f"{task.network} on {task.data}: measuring the solution of seed {seed}")
        solution = replica(fitted.params, seed)
        trajectory = Trajectory(folder, solution, seed, task.epochs)
        return measurements(seed, starts.model, solution, trajectory, train, test, subset)

    rows = [
        remembered(folder / f"seed_{seed}.json", functools.partial(measured, seed))
        for seed in range(seeds)
    ]
    return {
        "description": dataset.info.description,
        "num_train": n,
        "num_test": len(test["label"]),
        "num_subset": len(subset["label"]),
        "num_params": sum(leaf[0].size for leaf in jax.tree.leaves(starts.params)),
        "batch_sizes": batch_sizes(n),
        "train_loss": fitted.history.train_loss,
        "seconds": float(fitted.history.seconds[-1]),
        **by_name(rows),
    }


def measurements(seed, model, solution, trajectory, train, test, subset) -> dict[str, Any]:
    """All that is measured of one seed."""
    _, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    _, both = jn.models.split(model, jn.losses.classification)
    norms = jn.gradients.squared_norms(loss_fn, solution, train)
    ratios = np.asarray(jn.gradients.growth_ratio(loss_fn, trajectory, solution, subset))
    components = vanishing_numbers(norms)
    batches = [
        vanishing_numbers(batch_squared_norms(loss_fn, solution, train, b, seed))
        for b in batch_sizes(len(train["label"]))[1:]
    ]
    return {
        "final_loss": float(jn.training.evaluate(both, solution, train)["loss"]),
        "train_accuracy": float(jn.training.evaluate(both, solution, train)["accuracy"]),
        "test_accuracy": float(jn.training.evaluate(both, solution, test)["accuracy"]),
        **components,
        "growth_ratio": ratios,
        "N": float(ratios.max()),
        "batches": by_name([components, *batches]),
    }


def batch_sizes(num_examples: int) -> list[int]:
    """1, 4, 16, … as long as the examples make enough batches."""
    return [b for b in BATCH_SIZES if b == 1 or b * _LEAST_BATCHES <= num_examples]


def batch_squared_norms(
    loss_fn: Callable, params: Any, data: Any, batch_size: int, seed: int
) -> jax.Array:
    """‖(1/b) Σ ∇ℓ_i‖² of each of ⌊n/b⌋ batches, a random partition of the data.

    A batch counts as one example here, whose loss is the mean over its b examples; one batch is
    differentiated at a time.
    """
    n = len(data["label"])
    rows = np.random.default_rng(seed).permutation(n)[: n // batch_size * batch_size]
    batches = jax.tree.map(lambda x: x[rows.reshape(-1, batch_size)], data)
    mean_loss = Partial(mean_over_batches, loss_fn)
    return jn.gradients.squared_norms(mean_loss, params, batches, chunk_size=1, method="vmap")


def mean_over_batches(loss_fn: Callable, params: Any, batches: Any) -> jax.Array:
    """Mean loss of each batch, (B,), where the data's leaves are (B, b, …)."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches)
    return loss_fn(params, flat).reshape(batches["label"].shape).mean(axis=1)
