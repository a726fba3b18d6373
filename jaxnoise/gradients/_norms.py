"""Squared norms of per-example gradients, without keeping the gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._streaming import map_examples
from .._tree import is_concrete, num_examples
from ._per_example import default_gradient_chunk, example_gradients, prepare


def squared_norms(
    loss_fn: Callable,
    params: Any,
    batch: Any,
    *,
    chunk_size: int | None = None,
    method: Literal["auto", "vmap"] = "auto",
) -> jax.Array:
    """‖∇ℓ_i(w)‖² for each example.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      batch: batch of B examples.
      chunk_size: most examples differentiated at a time; None takes as many as have gradients of
        about sixteen million numbers.
      method: "vmap" forms the gradients of a chunk and reduces them, which always works; "auto"
        takes the fastest way known for the loss, at present "vmap" for all.

    Returns:
      (B,) squared norms in example order.

    Raises:
      ValueError: if loss_fn gives anything but (B,) losses, couples examples, or gives a norm that
        is not finite; if method is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> jn.gradients.squared_norms(loss_fn, jnp.array(1.0), {"x": jnp.array([1.0, 3.0])})
      Array([0., 4.], dtype=float32)
    """
    if method not in ("auto", "vmap"):
        raise ValueError(f"method must be 'auto' or 'vmap', got {method!r}")
    loss_fn, batch = prepare(loss_fn, params, batch, chunk_size, "batch")
    n = num_examples(batch)
    norms = _squared_norms(loss_fn, params, batch, chunk_size or default_gradient_chunk(params, n))
    check_finite(norms)
    return norms


@functools.partial(jax.jit, static_argnums=3)
def _squared_norms(loss_fn, params, batch, chunk_size):
    def norms(chunk):
        return sum(leaf_norms(example_gradients(loss_fn, params, chunk)))

    return map_examples(norms, batch, chunk_size)


def leaf_norms(gradients: Any) -> list[jax.Array]:
    """Each leaf's squared norms per example, (B,), in at least float32."""
    norms = []
    for leaf in jax.tree.leaves(gradients):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        norms.append(jnp.sum(jnp.square(wide), axis=tuple(range(1, leaf.ndim))))
    return norms


def check_finite(norms: jax.Array) -> None:
    """Raises if a concrete norm is not finite, naming the first example with one."""
    if is_concrete(norms) and (bad := np.flatnonzero(~np.isfinite(norms))).size:
        raise ValueError(
            f"the gradient of example {bad[0]} is not finite ({bad.size} such examples): look for "
            "non-finite parameters or data"
        )
