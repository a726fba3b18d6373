"""What many functions ask of their arguments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._tree import is_concrete


def check_key(key: Any) -> None:
    """Raises unless it is one typed key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError("key must be a typed key: use jax.random.key, not jax.random.PRNGKey")
    if key.shape:
        raise ValueError(f"key must be a single key, got {key.shape}")


def check_choice(value: Any, name: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_count(value: int, name: str, least: int = 1) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_positive(value: Any, name: str) -> None:
    """Raises unless concrete numbers, of which there are some, are finite and positive."""
    if is_concrete(value) and not _all(np.asarray(value), lambda found: found > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


def check_not_negative(value: Any, name: str) -> None:
    """Raises unless concrete numbers, of which there are some, are finite and not below zero."""
    if is_concrete(value) and not _all(np.asarray(value), lambda found: found >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}")


def _all(found: np.ndarray, is_right: Any) -> bool:
    return bool(found.size and (np.isfinite(found) & is_right(found)).all())
