"""The few helpers for pytrees that `optax.tree` lacks."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.tree_util import Partial


def as_partial(function: Callable) -> Partial:
    """Makes `function` a pytree, so that compiled programs take it as an argument.

    A `Partial`, or any other callable that is a pytree of arrays, stays what it is: its leaves are
    then arguments of the program, and new values in them compile nothing anew.
    """
    if not callable(function):
        raise TypeError(f"expected a function, got a {type(function).__name__}")
    is_tree_of_arrays = not jax.tree_util.all_leaves([function]) and all(
        hasattr(leaf, "dtype") for leaf in jax.tree.leaves(function)
    )
    return function if is_tree_of_arrays else Partial(function)  # pyright: ignore[reportReturnType]


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf is a tracer, so that values may be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def num_examples(batch: Any, name: str = "data") -> int:
    """The length of the leading axis that all leaves of `batch` share.

    Raises:
      ValueError: if there are no leaves, no examples, or the leaves disagree.
    """
    shapes = {path_name(path): jnp.shape(leaf) for path, leaf in leaves_with_path(batch)}
    if not shapes:
        raise ValueError(f"{name} is empty: give arrays with a leading example axis")
    if scalars := [path for path, shape in shapes.items() if not shape]:
        found = textwrap.shorten(", ".join(scalars), 90, placeholder=" …") or "it"
        raise ValueError(f"{name}: {found} has no example axis; every leaf needs one")
    lengths = {shape[0] for shape in shapes.values()}
    if len(lengths) > 1:
        found = ", ".join(f"{path or name} {shape}" for path, shape in shapes.items())
        found = textwrap.shorten(found, 150, placeholder=" …")
        raise ValueError(f"{name}: all leaves need the same leading example axis, got {found}")
    if 0 in lengths:
        raise ValueError(f"{name} holds no examples")
    return lengths.pop()


def keys_cloned(tree: Any) -> Any:
    """The tree for another use of the same keys on purpose, which is no reuse by mistake to JAX."""

    def cloned(leaf: Any) -> Any:
        is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
        return jax.random.clone(leaf) if is_key else leaf

    return jax.tree.map(cloned, tree)


def leaves_with_path(tree: Any) -> list[tuple[tuple, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def path_name(path: tuple) -> str:
    """A leaf's key path as text, `conv1/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def common_dtype(a: Any, b: Any) -> jnp.dtype:
    """The dtype that two dtypes are promoted to on purpose, which strict promotion allows, too."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(a, b)


def added(a: jax.Array, b: jax.Array) -> jax.Array:
    """a + b of one dtype or two, of which the result has the common one."""
    common = common_dtype(a.dtype, b.dtype)
    return a.astype(common) + b.astype(common)


def wide(x: jax.Array) -> jax.Array:
    """The array in at least single precision."""
    return x.astype(common_dtype(x.dtype, jnp.float32))


def squared_norm(tree: Any) -> jax.Array:
    """Σ over all entries of |x|², accumulated in at least float32."""
    total = jnp.zeros((), jnp.float32)
    for leaf in jax.tree.leaves(tree):
        total = added(total, jnp.sum(jnp.square(jnp.abs(wide(leaf)))))
    return total


def all_finite(tree: Any) -> jax.Array:
    """Whether every floating entry of the tree is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
