"""A small network of smooth units: not convex, with an L that only the Hessian can tell of.

One hidden layer of tanh units, cross-entropy, all parameters in one vector. f ≥ 0 bounds the gap
by f(x_0). σ² is the largest variance along the runs, and L the largest |eigenvalue| of the Hessian
at iterates of the first seed: a lower bound of the L that the theorem asks for, so that the bound
is an estimate here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import jaxnoise as jn
from jaxnoise import theory

from .._common import images_of, say
from ._config import Plan
from ._descend import descend, measure
from ._rows import records_of, row_of, running_mean

MOST_SEEDS, HIDDEN = 4, 16
STEP_SIZES = (0.2, 0.1, 0.05, 0.025)
NUM_HESSIANS = 4  # of each setting, at iterates from the start to the end


def network_loss(x: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """Cross-entropy of each example, (B,); the sizes follow from those of x and of the images."""
    inputs = batch["inputs"]
    num_inputs = inputs.shape[-1]
    num_classes = (x.size - HIDDEN * (num_inputs + 1)) // (HIDDEN + 1)
    first, last = jnp.split(x, [HIDDEN * (num_inputs + 1)])
    first, last = first.reshape(num_inputs + 1, HIDDEN), last.reshape(HIDDEN + 1, num_classes)
    hidden = jnp.tanh(inputs @ first[1:] + first[0])
    scores = hidden @ last[1:] + last[0]
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"])


def starts_of(seeds: int, num_inputs: int, num_classes: int) -> jax.Array:
    """(S, d) parameters, of variance 1/inputs in each layer, without biases."""

    def start(seed):
        keys = jax.random.split(jax.random.key(seed))
        layers = [
            jnp.pad(jax.random.normal(key, (rows, columns)) / jnp.sqrt(rows), ((1, 0), (0, 0)))
            for key, rows, columns in zip(
                keys, (num_inputs, HIDDEN), (HIDDEN, num_classes), strict=True
            )
        ]
        return jnp.concatenate([layer.ravel() for layer in layers])

    return jax.vmap(start)(jnp.arange(seeds))


def network(dataset: jn.data.Dataset, plan: Plan) -> dict[str, Any]:
    """The mean of ‖∇f‖² over the iterates beside the bound for functions that aren't convex."""
    train, _ = images_of(dataset, plan.examples)
    n = len(train["label"])
    scale = 255 if train["image"].dtype == np.uint8 else 1
    inputs = train["image"].reshape(n, -1) / scale
    data = {"inputs": inputs - inputs.mean(0), "label": train["label"]}
    seeds, num_steps = min(plan.seeds, MOST_SEEDS), max(plan.steps // 2, 2)
    starts = starts_of(seeds, data["inputs"].shape[1], int(data["label"].max()) + 1)
    records, loss = records_of(num_steps), Partial(network_loss)
    rows = []
    for batch in plan.batch_sizes:
        say(f"a small network on {dataset.info.name}, batch size {batch}, {seeds} seeds")
        own = STEP_SIZES if batch == plan.batch_sizes[0] else (STEP_SIZES[1],)
        iterates = descend(
            jax.vmap(jax.random.key)(jnp.arange(seeds)),
            loss,
            data,
            starts,
            jnp.asarray(own)[:, None] * jnp.ones(num_steps),
            jnp.zeros(len(own)),
            jnp.asarray(records),
            batch_size=batch,
        )
        found = measure(loss, data, iterates)
        values, norms, variances = (np.asarray(x, float) for x in found)
        for i, step in enumerate(own):
            smooth = largest_curvature(loss, data, iterates[i, 0])
            variance, gap = float(variances[i].mean(0).max()), float(values[i, :, 0].mean())
            means = running_mean(norms[i], np.ones(len(records)), records)
            settings = {"step_size": step, "batch_size": batch, "variance": variance}
            name = f"γ = {step:g}, B = {batch}"
            bound = np.full(len(records), np.inf)
            if step * smooth <= 1:
                args = (step, records, smooth, variance, gap)
                bound = theory.sgd_nonconvex_bound(*args, batch_size=batch)
            row = row_of(name, records, means, bound, smoothness=smooth, **settings)
            rows.append(row | {"loss": values[i].mean(0), "initial_gap": gap})
    return {
        "description": dataset.info.description,
        "num_examples": n,
        "num_params": starts.shape[1],
        "seeds": seeds,
        "steps": num_steps,
        "rows": rows,
    }


def largest_curvature(loss: Any, data: Any, iterates: jax.Array) -> float:
    """The largest |eigenvalue| of the Hessian at some of the iterates (M, d)."""
    some = np.linspace(0, len(iterates) - 1, NUM_HESSIANS).round().astype(int)
    found = [
        jn.sharpness.hessian_eigenvalues(
            loss, iterates[i], data, key=jax.random.key(0), which="magnitude", tolerance=1e-2
        )
        for i in some
    ]
    return float(max(abs(one.values[0]) for one in found))
