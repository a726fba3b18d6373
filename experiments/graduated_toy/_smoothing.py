"""A function with many minima, its smoothings, and the way down through them (figure 1)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from ._descend import ball_delta
from ._problems import CASES, NESTED

START = 8.0  # of every coordinate
FADING = (1.0, 0.7, 0.45, 0.25, 0.0)  # δ_m/δ_1
NUM_SAMPLES, NUM_STEPS = 1024, 200
RATES = (1.0, 1.0, 0.5, 0.1, 0.02)  # of the stages, small enough for the curvature of each
RESOLUTION = {1: 801, 2: 81}


def picture_data(dimension: int) -> dict[str, Any]:
    """The nested wells and their smoothings in one or two dimensions, on a grid, with the path.

    Returns:
      "deltas" (M,), "grid" (n,) of each coordinate, "values" (M, n) or (M, n, n), "path" (M + 1, d)
      from the start on, and "heights" (M, 2) where the path enters and leaves each smoothing.
    """
    problem = CASES[NESTED].problem
    key = jax.random.key(0)
    deltas = ball_delta(CASES[NESTED], dimension) * np.asarray(FADING)
    grid = np.linspace(problem.lower, problem.upper, RESOLUTION[dimension], dtype=np.float32)
    points = np.stack(np.meshgrid(*[grid] * dimension, indexing="ij"), -1)
    start = jnp.full(dimension, START)
    found = jn.smoothing.graduated_descent(
        key,
        problem.function,
        start,
        deltas,
        learning_rate=jnp.asarray(RATES),
        num_steps=NUM_STEPS,
        num_samples=NUM_SAMPLES,
        method="quasi_monte_carlo",
    )
    path = np.concatenate([start[None], found.stage_points])

    @jax.jit
    def at(delta, x):
        hat = jn.smoothing.smoothed(
            key, problem.function, delta, NUM_SAMPLES, method="quasi_monte_carlo", chunk_size=1
        )
        return jax.vmap(hat)(x)

    flat = np.concatenate([points.reshape(-1, dimension), path])
    values = np.stack([at(delta, flat) for delta in deltas])
    on_path = values[:, -len(path) :]
    return {
        "deltas": deltas,
        "grid": grid,
        "values": values[:, : -len(path)].reshape(len(deltas), *points.shape[:-1]),
        "path": path,
        "heights": [[row[m], row[m + 1]] for m, row in enumerate(on_path)],
    }
