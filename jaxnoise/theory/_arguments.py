"""What the bounds ask of their arguments, which have the same names everywhere."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_not_negative, check_positive
from .._tree import is_concrete

_POSITIVE = {
    "batch_size", "delta", "growth", "inner_step", "lipschitz", "num_inner_steps", "num_iterates",
    "num_rounds", "num_stages", "power", "radius", "radius_factor", "smoothness",
    "strong_convexity", "target", "weight",
}  # fmt: skip
_ROUNDING = 1e-6  # of a step size in single precision


def floats(**given: Any) -> list[jax.Array]:
    """The arguments as floating arrays.

    Raises:
      ValueError: if a concrete one is not finite, is negative, or is zero where it must not be.
    """
    for name, value in given.items():
        check = check_positive if name in _POSITIVE else check_not_negative
        check(value, name)
    return [jnp.asarray(value, float) for value in given.values()]


def check_step_size(
    step_size: Any, limit: Any, most: float, strict: bool = False, name: str = "smoothness"
) -> None:
    """Raises unless step_size · limit is at most, or with `strict` below, `most`."""
    if not is_concrete(step_size, limit):
        return
    products = np.asarray(step_size, float) * np.asarray(limit, float)
    if not (products < most if strict else products <= most * (1 + _ROUNDING)).all():
        raise ValueError(
            f"step_size must be {'below' if strict else 'at most'} {most:g}/{name}, got "
            f"{step_size} where {name} is {limit}"
        )


def check_strong_convexity(strong_convexity: Any, smoothness: Any) -> None:
    """Raises unless μ ≤ L."""
    if not is_concrete(strong_convexity, smoothness):
        return
    limit = np.asarray(smoothness, float) * (1 + _ROUNDING)
    if not (np.asarray(strong_convexity, float) <= limit).all():
        raise ValueError(
            f"strong_convexity must be at most smoothness, got {strong_convexity} where smoothness "
            f"is {smoothness}"
        )


def ratio(top: jax.Array, bottom: jax.Array) -> jax.Array:
    """top/bottom, with 0/0 = 0."""
    nothing = (top == 0) & (bottom == 0)
    return jnp.where(nothing, 0, top / jnp.where(nothing, 1, bottom))


def root(x: jax.Array) -> jax.Array:
    """√x, with a finite derivative at 0."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


def last_step(num_iterates: jax.Array) -> jax.Array:
    """The least whole K ≥ 0 with K + 1 ≥ num_iterates; +∞ stays."""
    return jnp.maximum(jnp.ceil(num_iterates) - 1, 0)
