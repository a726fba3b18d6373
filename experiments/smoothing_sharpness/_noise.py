"""The noise ω of mini-batch gradients at one point: how large it is, and how normal."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jaxnoise as jn

from .._common import LEVEL
from ._config import Plan
from ._problem import Problem

FACTORS = (1, 4, 16)  # of the plan's probe batch size
DIRECTIONS = 16
DRAWS = 1000  # mini-batches whose direction is looked at
_KEPT = 2000, 4  # coordinates and directions that are kept for figures


def noise_at(problem: Problem, plan: Plan, params: Any, model_state: Any) -> dict[str, Any]:
    """ω = ∇f_S(w) − ∇f(w) over the probe, for batches S of several sizes.

    Returns:
      "noise_std": C; "sizes": for each batch size
        "coordinates": some of the coordinates of one ω, those that are exactly zero left out;
        "zero": share of the latter;
        "coordinate_normality": statistics of all the others;
        "projections": ω of `DRAWS` batches along some random directions (DRAWS, K);
        "normality": statistics of each of the `DIRECTIONS`;
        "rms": √E‖ω‖² of batches drawn with replacement, and its standard error, over the plan's
        number of single ones;
        "rms_without": of batches drawn without.
    """
    loss_fn = problem.starts.loss_fn(params, model_state, jn.losses.cross_entropy)
    data, rng = problem.probe, np.random.default_rng(0)
    n = len(data["label"])
    _, mean = jn.gradients.squared_norms_and_mean(loss_fn, params, data)
    along = np.asarray(
        jn.gradients.noise_projections(jax.random.key(0), loss_fn, params, data, DIRECTIONS)
    )
    sizes = []
    for size in (plan.probe_batch_size * factor for factor in FACTORS):
        if size > n:
            continue
        num = max(2, plan.noise_gradients // size)
        drawn = rng.integers(n, size=(DRAWS, size))
        projections = along[drawn].mean(axis=1)
        omega = np.asarray(noise_of(loss_fn, params, data, drawn[0], mean))
        coordinates = omega[omega != 0]
        sizes.append(
            {
                "batch_size": size,
                "coordinates": rng.permutation(coordinates)[: _KEPT[0]],
                "zero": 1 - len(coordinates) / len(omega),
                "coordinate_normality": jn.gradients.normality(coordinates),
                "projections": projections[:, : _KEPT[1]],
                "normality": jn.gradients.normality(projections),
                **{
                    name: rms_noise(
                        loss_fn, params, data, batches_of(rng, n, size, num, again), mean
                    )
                    for name, again in (("rms", True), ("rms_without", False))
                },
            }
        )
    return {"noise_std": float(jn.gradients.noise_std(loss_fn, params, data)), "sizes": sizes}


def batches_of(rng: np.random.Generator, n: int, size: int, num: int, again: bool) -> np.ndarray:
    """(num, b) rows of n examples; within a batch an example may come again, or not."""
    if again:
        return rng.integers(n, size=(num, size))
    return np.stack([rng.choice(n, size, replace=False) for _ in range(num)])


def rms_noise(
    loss_fn: Any, params: Any, data: Any, batches: np.ndarray, mean: Any
) -> tuple[float, float]:
    """√ of the mean of ‖ω‖² over the batches (num, b), rows of the data, and its standard error."""
    squares = np.asarray(_squared_norms(loss_fn, params, data, batches, mean), float)
    rms = np.sqrt(squares.mean())
    return float(rms), float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * rms))


@jax.jit
def noise_of(loss_fn: Any, params: Any, data: Any, rows: Any, mean: Any) -> jax.Array:
    """(d,) ω of the batch of these rows."""
    batch = jax.tree.map(lambda x: x[rows], data)
    gradient = jax.grad(lambda w: jnp.mean(loss_fn(w, batch)))(params)
    return ravel_pytree(optax.tree.sub(gradient, mean))[0]


@jax.jit
def _squared_norms(loss_fn, params, data, batches, mean) -> jax.Array:
    def one(rows):
        return jnp.sum(noise_of(loss_fn, params, data, rows, mean) ** 2)

    return jax.lax.map(one, batches)


def noise_verdicts(noise: dict[str, Any]) -> list[str]:
    """How normal ω is, and what quadrupling b does to it, at each point."""
    said = []
    for where, found in noise.items():
        sizes, words = found["sizes"], []
        for size in sizes:
            along = size["normality"]
            rejected = sum(p < LEVEL for p in along["p_value"])
            words.append(
                f"b = {size['batch_size']}: {np.mean(along['excess_kurtosis']):+.2g}, rejected "
                f"along {rejected} of {len(along['p_value'])}"
            )
        pooled = [f"{size['coordinate_normality']['excess_kurtosis'][0]:.3g}" for size in sizes]
        said.append(
            f"Noise, {where}: mean excess kurtosis along random directions, and how often "
            f"Anderson–Darling's test rejects the normal: {'; '.join(words)}. The coordinates of "
            f"one ω taken together have excess kurtosis {', '.join(pooled)}."
        )
        steps = [over(later["rms"], sooner["rms"]) for sooner, later in itertools.pairwise(sizes)]
        if steps:
            words = [f"{ratio:.3f} ± {error:.3f}" for ratio, error in steps]
            said.append(
                f"Noise, {where}: quadrupling b changes rms ‖ηω‖ by {', '.join(words)} (standard "
                "error); halving η by 0.5."
            )
    return said


def over(rms: tuple[float, float], first: tuple[float, float]) -> tuple[float, float]:
    """The ratio of two rms, measured over different batches, and its standard error."""
    ratio = rms[0] / first[0]
    return ratio, ratio * float(np.hypot(rms[1] / rms[0], first[1] / first[0]))
