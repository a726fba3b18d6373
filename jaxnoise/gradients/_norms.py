"""Squared norms of per-example gradients, without keeping the gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from .._streaming import NUM_BLOCKS, Examples, in_blocks, map_and_sum, spread
from .._tree import added, is_concrete, num_examples, wide
from ._per_example import default_gradient_chunk, example_gradients, prepare_spread
from ._reduce import reduce_gradients
from ._taps import taps_of

SHOWS_PROGRESS = 1000  # examples; fewer are one call


def squared_norms(
    loss_fn: Callable,
    params: Any,
    batch: Any,
    *,
    chunk_size: int | None = None,
    method: Literal["auto", "vmap"] = "auto",
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """‖∇ℓ_i(w)‖² for each example.

    With method "auto" this costs about as much as one gradient of the mean loss. The loss of one
    example is traced, and each operation in which parameters meet the example is found. One pass
    forward and backward gives, for all examples of a chunk, its other operand a_i and the
    cotangent δ_i of its result; of a dense layer then ‖g_i‖² = ‖a_i‖²‖δ_i‖², and likewise, by two
    small Gram matrices, of embeddings and of convolutions, whose patches are never cut out. Other
    gradients, those of convolutions on large maps, are formed layer by layer and reduced at once.
    Parameters that are used several times, cast, transposed or otherwise transformed on their way
    are treated as what they are.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      batch: batch of B examples.
      chunk_size: most examples worked on at a time; None takes as many as leave about as many
        numbers between the passes as fit in a processor's caches or are well below an
        accelerator's memory.
      method: "auto" as above; "vmap" forms the whole gradients of a chunk and reduces them.
      sharding: how to distribute the examples over devices, a `NamedSharding` whose first axis
        names the mesh axis or axes to use; their number need not divide B. Each device holds its
        own part of the batch and works on a chunk of it at a time. None keeps to one device.

    Returns:
      (B,) squared norms in example order, in at least single precision.

    Raises:
      ValueError: if loss_fn gives anything but (B,) losses, couples examples, or gives a norm that
        is not finite; if method is unknown.

    References:
      Goodfellow, "Efficient Per-Example Gradient Computations", 2015, section 4 (dense layers);
      Rochette, Manoel, Tramel, "Efficient Per-Example Gradient Computations in Convolutional
      Neural Networks", 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> jn.gradients.squared_norms(loss_fn, jnp.array(1.0), {"x": jnp.array([1.0, 3.0])})
      Array([0., 4.], dtype=float32)
    """
    if method not in ("auto", "vmap"):
        raise ValueError(f"method must be 'auto' or 'vmap', got {method!r}")
    inputs = prepare_spread(loss_fn, params, batch, chunk_size, "batch", sharding)
    norms, _ = gradient_pass(
        *inputs, chunk_size=chunk_size, description="gradient norms", method=method
    )
    total = total_norms(norms)
    check_finite(total)
    return total


def squared_norms_and_mean(
    loss_fn: Callable,
    params: Any,
    batch: Any,
    *,
    chunk_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> tuple[jax.Array, Any]:
    """‖∇ℓ_i(w)‖² for each example, and the mean gradient, in one pass.

    Args:
      loss_fn, params, batch, chunk_size, sharding: as for `squared_norms`.

    Returns:
      (norms, mean): (B,) squared norms, and (1/B) Σ ∇ℓ_i(w), a pytree like `params` in at least
      single precision.

    Raises:
      ValueError: as `squared_norms`.

    References:
      As for `squared_norms`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> batch = {"x": jnp.array([1.0, 3.0])}
      >>> norms, mean = jn.gradients.squared_norms_and_mean(loss_fn, jnp.array(1.0), batch)
      >>> norms.tolist(), float(mean)
      ([0.0, 4.0], -1.0)
    """
    inputs = prepare_spread(loss_fn, params, batch, chunk_size, "batch", sharding)
    norms, mean = leaf_norms_and_mean(*inputs, chunk_size)
    total = total_norms(norms)
    check_finite(total)
    return total, mean


def leaf_norms_and_mean(
    loss_fn: Callable, params: Any, examples: Examples, chunk_size: int | None
) -> tuple[list[jax.Array], Any]:
    """Each leaf's squared norms (n,), and the mean gradient."""
    norms, sums = gradient_pass(
        loss_fn,
        params,
        examples,
        chunk_size=chunk_size,
        description="gradient norms and their mean",
        method="sums",
    )
    mean = [total / examples.n for total in sums]
    return norms, jax.tree.unflatten(jax.tree.structure(params), mean)


def gradient_pass(
    loss_fn: Callable,
    params: Any,
    examples: Examples,
    *,
    chunk_size: int | None,
    description: str,
    method: Literal["auto", "vmap", "sums"] = "auto",
    center: Any = None,
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Each leaf's squared norms (n,), less `center` where given, and sums with method "sums"."""
    n, leaves = examples.n, jax.tree.leaves(params)
    program = functools.partial(
        _gradient_pass, loss_fn, params, examples, center, chunk_size=chunk_size, method=method
    )
    if n < SHOWS_PROGRESS or not is_concrete(loss_fn, params, examples, center):
        return examples.finish(*program(None, (0, NUM_BLOCKS)))
    norms = [jnp.zeros(n, wide(leaf).dtype) for leaf in leaves]
    sums = [jnp.zeros_like(wide(leaf)) for leaf in leaves] if method == "sums" else []
    return examples.finish(*in_blocks(program, examples.start(norms, sums), n, description))


@functools.partial(jax.jit, static_argnames=("chunk_size", "method"), donate_argnums=4)
def _gradient_pass(loss_fn, params, examples, center, so_far, blocks, *, chunk_size, method):
    def work(data, counted, so_far, loss_fn, params, center, blocks):
        if method == "vmap":
            size = default_gradient_chunk(params, num_examples(data))

            def reduced(chunk: Any, weights: jax.Array) -> tuple[list, list]:
                return leaf_norms(example_gradients(loss_fn, params, chunk)), []

        else:
            taps = taps_of(loss_fn, params, data)
            size = taps.default_chunk_size(num_examples(data))
            summed = method == "sums"

            def reduced(chunk: Any, weights: jax.Array) -> tuple[list, list]:
                return reduce_gradients(
                    taps, params, chunk, weights=weights if summed else None, center=center
                )

        return map_and_sum(reduced, data, chunk_size or size, so_far, blocks, counted)

    return spread(work, examples, so_far, loss_fn, params, center, blocks)


def total_norms(layer_norms: list[jax.Array]) -> jax.Array:
    """(n,) squared norms of whole gradients from those of their leaves."""
    return functools.reduce(added, layer_norms)


def leaf_norms(gradients: Any) -> list[jax.Array]:
    """Each leaf's squared norms per example, (B,), in at least float32."""
    return [
        jnp.sum(jnp.square(wide(leaf)), axis=tuple(range(1, leaf.ndim)))
        for leaf in jax.tree.leaves(gradients)
    ]


def check_finite(norms: jax.Array) -> None:
    """Raises if a concrete norm is not finite, naming the first example with one."""
    if is_concrete(norms) and (bad := np.flatnonzero(~np.isfinite(norms))).size:
        raise ValueError(
            f"the gradient of example {bad[0]} is not finite ({bad.size} such examples), or too "
            "large to be squared: look for non-finite parameters or data, labels out of range, or "
            "losses of a huge scale"
        )
