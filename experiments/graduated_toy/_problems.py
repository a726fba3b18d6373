"""The functions, and how near the global minimum counts as having reached it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnoise.smoothing.functions import PROBLEMS, Problem

NESTED, NARROW = "nested_wells", "narrow_well"


@dataclasses.dataclass(frozen=True)
class Case:
    """A function with a ball around its global minimiser that lies in the minimiser's basin.

    Attributes:
      problem: the function, its domain and its global minimum.
      radius: of the ball. A start has reached the minimum if descent from it ends in there.
      dimensions: the most it is tried in, None for any number.
    """

    problem: Problem
    radius: float
    dimensions: int | None = None


def nested_wells(x: Any) -> jax.Array:
    """Two wells in a bowl, the lower to the left, under waves: minima of three widths.

        f(x) = Σ_i x_i²/40 − 3 exp(−(x_i + 4)²/5) − 2 exp(−(x_i − 4)²/5) + ½(1 − cos 2π(x_i + s))

    with s such that a wave has its least value where the lower well without waves has. Smoothing
    that is wide enough to fill the upper well moves the minimum out of the lower one.
    """
    x = jnp.atleast_1d(x)
    wells = 3 * jnp.exp(-((x + 4) ** 2) / 5) + 2 * jnp.exp(-((x - 4) ** 2) / 5)
    waves = (1 - jnp.cos(2 * math.pi * (x - _NESTED_MINIMUM))) / 2
    return jnp.sum(x**2 / 40 - wells + waves, -1)


def narrow_well(x: Any) -> jax.Array:
    """A bowl, and far from its middle a narrow well that is lower: smoothing fills it first.

    f(x) = Σ_i x_i²/20 − 4 exp(−2(x_i − 6)²)
    """
    x = jnp.atleast_1d(x)
    return jnp.sum(x**2 / 20 - 4 * jnp.exp(-2 * (x - 6) ** 2), -1)


_NESTED_MINIMUM = -3.83918042946107
CASES = {
    "multi_well": Case(PROBLEMS["multi_well"], 0.5, 1),
    "rastrigin": Case(PROBLEMS["rastrigin"], 0.4),
    "ackley": Case(PROBLEMS["ackley"], 0.4),
    "drop_wave": Case(PROBLEMS["drop_wave"], 0.2),
    "griewank": Case(PROBLEMS["griewank"], 1.5),
    "styblinski_tang": Case(PROBLEMS["styblinski_tang"], 1.5),
    NESTED: Case(
        Problem(nested_wells, -10.0, 10.0, _NESTED_MINIMUM, per_dimension=-2.616048834488656), 0.4
    ),
    NARROW: Case(
        Problem(narrow_well, -10.0, 10.0, 5.962629331042325, per_dimension=-2.2111956265186175),
        0.5,
        2,
    ),
}
