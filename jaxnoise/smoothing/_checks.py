"""What the functions of the folder ask of points and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_floating, check_numbers
from .._tree import wide


def check_single(value: Any, name: str) -> None:
    check_numbers(value, name)
    if jnp.ndim(value):
        raise ValueError(f"{name} must be a single number, got shape {jnp.shape(value)}")


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
