"""A method run from many starts at once, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn

from ._config import Plan
from ._methods import Method
from ._problems import Case
from ._smoothness import Smoothness

_GROUPS = 20  # of starts; those of a group take the same shifts


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is chosen for each method.

    Attributes:
      rate: c, the step in units of 1/L.
      fraction: δ_1 in units of the cell's.
    """

    rate: float
    fraction: float


@dataclasses.dataclass(frozen=True)
class Cell:
    """A function in so many dimensions.

    Attributes:
      case: the function.
      dimension: d.
      smoothness: L by δ.
    """

    case: Case
    dimension: int
    smoothness: Smoothness

    @property
    def delta(self) -> float:
        """The δ_1 whose shifts have a standard deviation of a quarter of the domain's width."""
        return first_delta(self.case, self.dimension)


def first_delta(case: Case, dimension: int) -> float:
    """δ of normal directions that spreads each coordinate by a quarter of the domain's width."""
    return spread(case) * dimension**0.5


def ball_delta(case: Case, dimension: int) -> float:
    """The same for directions in the unit ball."""
    return spread(case) * (dimension + 2) ** 0.5


def spread(case: Case) -> float:
    return (case.problem.upper - case.problem.lower) / 4


def starts_of(key: jax.Array, case: Case, dimension: int, num: int) -> jax.Array:
    """(num, d) points uniform in the domain."""
    problem = case.problem
    return jax.random.uniform(key, (num, dimension), minval=problem.lower, maxval=problem.upper)


def stages_of(
    key: jax.Array,
    cell: Cell,
    method: Method,
    setting: Setting,
    plan: Plan,
    start: Any,
    samples: int,
) -> np.ndarray:
    """(M + 1, n, d) where each stage ended, the last that on the function itself.

    Args:
      key: typed key of noise and shifts.
      cell: the function.
      method: how to go down.
      setting: its step and its first degree of smoothing.
      plan: stages and steps.
      start: (n, d).
      samples: gradients per step of graduated descent; the other methods make as many steps
        instead.
    """
    f, d = Partial(cell.case.problem.function), cell.dimension
    deltas = setting.fraction * cell.delta * np.asarray(method.fading)
    rates = setting.rate / cell.smoothness(deltas)
    if method.kind == "smoothed":
        groups = math.gcd(len(start), _GROUPS)
        keys, grouped = jax.random.split(key, groups), start.reshape(groups, -1, d)
        found = _graduated(keys, f, grouped, deltas, rates, plan.steps, samples)
        ends = jnp.moveaxis(found, 2, 0).reshape(plan.stages, -1, d)
    else:
        noise = None if method.kind == "plain" else jnp.asarray(deltas / rates, float)
        ends = _staged(key, f, start, jnp.asarray(rates, float), noise, samples, plan.steps)
    last = jnp.full(plan.stages, 1 / cell.smoothness.curvature)
    finished = _staged(key, f, ends[-1], last, None, 1, plan.steps)[-1:]
    return np.concatenate([ends, finished])


@functools.partial(jax.jit, static_argnames=("num_steps", "num_samples"))
def _graduated(
    keys: jax.Array,
    f: Callable,
    start: Any,
    deltas: Any,
    rates: Any,
    num_steps: int,
    num_samples: int,
) -> jax.Array:
    """(groups, n, M, d) where graduated descent is after each stage; shifts are a group's own."""

    def group(key, x):
        return jn.smoothing.graduated_descent(
            key,
            f,
            x,
            deltas,
            learning_rate=rates,
            num_steps=num_steps,
            num_samples=num_samples,
            distribution="gaussian",
            method="quasi_monte_carlo",
            vectorized=True,
        ).stage_points

    return jax.vmap(group)(keys, start)


@functools.partial(jax.jit, static_argnames="num_steps")
def _staged(
    key: jax.Array, f: Callable, start: Any, rates: Any, noise: Any, blocks: Any, num_steps: int
) -> jax.Array:
    """(M, n, d) where descent with noise (M,), or without, is after each stage of some blocks.

    All starts together are one point of the sum of their functions, which draws noise at once.
    """
    n = len(start)

    def stage(x, settings):
        key, rate, std = settings

        def block(i, x):
            options = {"learning_rate": rate, "num_steps": num_steps}
            if std is not None:
                options |= {"noise_std": math.sqrt(n) * std, "key": jax.random.fold_in(key, i)}
            return jn.smoothing.descent(lambda x: jnp.sum(f(x)), x, **options).point

        x = jax.lax.fori_loop(0, blocks, block, x)
        return x, x

    return jax.lax.scan(stage, start, (jax.random.split(key, len(rates)), rates, noise))[1]


@jax.jit
def _values(f: Callable, x: Any) -> jax.Array:
    return f(x)


def outcome(cell: Cell, ends: np.ndarray) -> dict[str, list[float]]:
    """By stage: the share of starts near the global minimum, and the median of f above it.

    Where descent diverged f counts as infinite.
    """
    problem, d = cell.case.problem, cell.dimension
    with np.errstate(all="ignore"):
        distance = np.linalg.norm(ends - problem.minimizer(d), axis=-1)
        values = np.asarray(_values(Partial(problem.function), ends), float)
    gap = values - problem.minimum(d)
    gap = np.where(np.isfinite(gap), gap, np.inf)
    return {
        "share": np.mean(distance <= cell.case.radius, axis=1).tolist(),
        "gap": np.median(gap, axis=1).tolist(),
    }
