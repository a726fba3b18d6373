"""What many functions ask of their arguments."""

from __future__ import annotations

import operator
import textwrap
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._tree import is_concrete, leaves_with_path, path_name


def shown(value: Any) -> str:
    """A value within a message: on one line, and not all of it where it is long."""
    text = repr(value) if isinstance(value, str) else str(value)
    return textwrap.shorten(text, 90, placeholder=" …")


def one_line(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def check_key(key: Any) -> None:
    """Raises unless it is one typed key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError("key must be a typed key: use jax.random.key, not jax.random.PRNGKey")
    if key.shape:
        raise ValueError(f"key must be a single key, got {key.shape}")


def entry(batch: Any, name: str, use: str = "") -> Any:
    """The batch's entry of this name, or an error that says which there are."""
    if not isinstance(batch, Mapping) or name not in batch:
        found = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(f"the batch has no entry {name!r}{use}: it holds {found}")
    return batch[name]


def check_choice(value: Any, name: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {shown(value)}")


def check_kind(value: Any, name: str, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got a {type(value).__name__}")


def check_whole(value: Any, name: str) -> None:
    """Raises unless it is a whole number, of Python, NumPy or JAX."""
    try:
        operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}") from None


def check_count(value: Any, name: str, least: int = 1) -> None:
    check_whole(value, name)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_numbers(value: Any, name: str) -> None:
    """Raises unless concrete values are real numbers."""
    if not is_concrete(value):
        return
    try:
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    except ValueError:  # rows of different lengths
        dtype = np.dtype(object)
    if not _is_real(dtype):
        raise TypeError(f"{name} must be a real number or an array of them, got {shown(value)}")


def check_single(value: Any, name: str) -> None:
    """Raises unless it is one real number, concrete or not."""
    check_numbers(value, name)
    if shape := jnp.shape(value):
        raise ValueError(
            f"{name} must be a single number, got shape {shape}: map over several with jax.lax.map"
        )


def check_positive(value: Any, name: str) -> None:
    """Raises unless concrete numbers, of which there are some, are finite and positive."""
    check_numbers(value, name)
    if is_concrete(value) and not _all(np.asarray(value), lambda found: found > 0):
        raise ValueError(f"{name} must be a positive number, got {shown(value)}")


def check_not_negative(value: Any, name: str) -> None:
    """Raises unless concrete numbers, of which there are some, are finite and not below zero."""
    check_numbers(value, name)
    if is_concrete(value) and not _all(np.asarray(value), lambda found: found >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {shown(value)}")


def check_floating(tree: Any, name: str) -> None:
    """Raises unless all leaves are real and floating."""
    for path, leaf in leaves_with_path(tree):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            found = f"{path_name(path) or 'it'} is {dtype}"
            raise TypeError(f"{name} must hold real floating arrays alone, but {found}")


def as_arrays(batch: Any, name: str) -> Any:
    """The batch as JAX's arrays.

    Raises:
      TypeError: if a leaf has no numbers in it.
    """

    def as_array(path: tuple, leaf: Any) -> jax.Array:
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSUMm":
            found = f"{path_name(path) or 'it'} is {leaf.dtype}"
            raise TypeError(f"{name} must hold arrays of numbers, but {found}: leave that out")
        return jnp.asarray(leaf)

    return jax.tree_util.tree_map_with_path(as_array, batch)


def check_fraction(value: Any, name: str) -> None:
    """Raises unless concrete numbers lie in [0, 1)."""
    check_not_negative(value, name)
    if is_concrete(value) and not (np.asarray(value) < 1).all():
        raise ValueError(f"{name} must be below 1, got {shown(value)}")


def check_function(value: Any, name: str) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {shown(value)}")


def _is_real(dtype: Any) -> bool:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _all(found: np.ndarray, is_right: Any) -> bool:
    return bool(found.size and (np.isfinite(found) & is_right(found)).all())
