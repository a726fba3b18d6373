"""What the functions of the folder ask of points and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_floating, check_numbers
from .._tree import wide


def degrees(deltas: Any) -> jax.Array:
    """(M,) degrees of smoothing, as floating numbers."""
    check_numbers(deltas, "deltas")
    deltas = jnp.asarray(deltas, float)
    if deltas.ndim != 1:
        raise ValueError(f"deltas must be a list of degrees of smoothing, got {deltas.shape}")
    return deltas


def for_each_degree(value: Any, name: str, deltas: jax.Array) -> jax.Array:
    """(M,) a number for each degree, or the same for all of them."""
    check_numbers(value, name)
    value = jnp.asarray(value, deltas.dtype)
    if value.shape not in ((), deltas.shape):
        raise ValueError(
            f"{name} must be a number or one for each of the {deltas.size} deltas, got shape "
            f"{value.shape}"
        )
    return jnp.broadcast_to(value, deltas.shape)


def floating(x: Any, name: str) -> Any:
    """The tree with leaves in at least single precision.

    Raises:
      TypeError: if a leaf is not real and floating.
      ValueError: if there are no numbers in it.
    """
    check_floating(x, name)
    if not any(jnp.size(leaf) for leaf in jax.tree.leaves(x)):
        raise ValueError(f"{name} holds no numbers")
    return jax.tree.map(lambda leaf: wide(jnp.asarray(leaf)), x)


def check_scalar_function(f: Callable, x: Any, fix: str = "sum or average it") -> None:
    """Raises unless f gives one floating number at x."""
    value = jax.eval_shape(f, x)
    if getattr(value, "shape", None) != ():
        found = getattr(value, "shape", type(value).__name__)
        raise ValueError(f"f must give a single number, got {found}: {fix}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"f must give a floating number, got {value.dtype}")
