"""The gradient of every example's own loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from .._checks import as_arrays, check_floating
from .._sharding import check_outside, first, leading, num_shards, put_everywhere
from .._streaming import Examples, check_chunk_size, examples_on, map_examples, spread
from .._tree import as_partial, is_concrete, keys_cloned, num_examples

_CHUNK_NUMBERS = 2**24  # by default the gradients of a chunk hold about this many numbers
_COMPARED = 4  # examples that the check for coupling looks at


def per_example(
    loss_fn: Callable,
    params: Any,
    batch: Any,
    *,
    chunk_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> Any:
    """The gradient g_i = ∇_w ℓ_i(w) of each example's loss.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      batch: batch of B examples.
      chunk_size: most examples differentiated at a time; None takes all at once.
      sharding: how to distribute the examples over devices, see `squared_norms`.

    Returns:
      A pytree like `params` whose leaves have a leading (B,); with a sharding, each device keeps
      its own gradients where B is a multiple of the number of devices.

    Raises:
      ValueError: if loss_fn gives anything but (B,) losses, or if one example's loss depends on
        another example, as with batch normalisation in training mode.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> jn.gradients.per_example(loss_fn, jnp.array(1.0), {"x": jnp.array([2.0, 3.0])}).tolist()
      [-1.0, -2.0]
    """
    loss_fn, params, examples = prepare_spread(
        loss_fn, params, batch, chunk_size, "batch", sharding
    )
    gradients = _per_example(loss_fn, params, examples, chunk_size)
    if examples.sharding is not None and examples.n % num_shards(examples.sharding) == 0:
        return gradients
    return examples.finish(gradients)[0]


@functools.partial(jax.jit, static_argnums=3)
def _per_example(loss_fn, params, examples, chunk_size):
    def work(data, counted, so_far, loss_fn, params):
        del counted, so_far
        size = chunk_size or num_examples(data)
        return map_examples(functools.partial(example_gradients, loss_fn, params), data, size), ()

    return spread(work, examples, None, loss_fn, params)[0]


def example_gradients(loss_fn: Callable, params: Any, batch: Any) -> Any:
    """∇ℓ_i for each example of a chunk, by `jax.vmap`; leaves (B, …)."""

    def loss_of_one(params, example):
        return loss_fn(params, jax.tree.map(lambda x: x[None], example))[0]

    return jax.vmap(jax.grad(loss_of_one), in_axes=(None, 0))(params, batch)


def default_gradient_chunk(params: Any, n: int) -> int:
    """As many examples as have gradients of about sixteen million numbers."""
    numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))
    return max(1, min(n, _CHUNK_NUMBERS // max(1, numbers)))


def prepare(
    loss_fn: Callable, params: Any, data: Any, chunk_size: int | None, name: str = "data"
) -> tuple[Callable, Any]:
    """The loss as a pytree and the data as arrays, after all that can be checked of them."""
    check_chunk_size(chunk_size)
    n = num_examples(data, name)
    if not jax.tree.leaves(params):
        raise ValueError("params holds no arrays, so there is nothing to differentiate by")
    check_floating(params, "params")
    loss_fn, data = as_partial(loss_fn), as_arrays(data, name)
    check_losses(loss_fn, params, data, n)
    if n > 1 and is_concrete(loss_fn, params, data):
        few = jax.tree.map(lambda x: x[:_COMPARED], keys_cloned(data))
        _check_coupling(loss_fn, params, few)
    return loss_fn, data


def prepare_spread(
    loss_fn: Callable,
    params: Any,
    data: Any,
    chunk_size: int | None,
    name: str,
    sharding: NamedSharding | None,
) -> tuple[Callable, Any, Examples]:
    """The loss, the parameters and the examples, checked and put where they are worked on.

    The checks are those of `prepare`; with a sharding, of the first few examples alone.
    """
    sharding = leading(sharding, "examples")
    if sharding is None:
        loss_fn, data = prepare(loss_fn, params, data, chunk_size, name)
        return loss_fn, jax.tree.map(jnp.asarray, params), examples_on(data, None)
    check_outside(loss_fn, params, data)
    num_examples(data, name)
    as_arrays(jax.tree.map(_first_row, data), name)
    loss_fn, params = put_everywhere((as_partial(loss_fn), params), sharding)
    examples = examples_on(data, sharding)
    few = first(examples.data, min(_COMPARED, examples.n), sharding)
    prepare(loss_fn, params, few, chunk_size, name)
    return loss_fn, params, examples


def _first_row(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)[:1]


def check_losses(loss_fn: Callable, params: Any, data: Any, n: int) -> None:
    """Raises unless loss_fn gives one floating loss per example."""
    losses = jax.eval_shape(loss_fn, params, data)
    if isinstance(losses, Mapping):
        raise TypeError(
            "loss_fn must give an array of losses (B,) here, not a dict of metrics: "
            "pick one, as in lambda params, batch: metrics(params, batch)['loss']"
        )
    shape = getattr(losses, "shape", None)
    if shape != (n,):
        raise ValueError(
            f"loss_fn must give one loss per example, shape ({n},) for this batch, got {shape}: "
            "leave out the mean over examples"
        )
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(f"loss_fn must give floating losses, got {losses.dtype}")


def _check_coupling(loss_fn: Callable, params: Any, few: Any) -> None:
    """Raises if an example's loss changes with another example, or with its own place."""
    compared = _compared_losses(loss_fn, params, few)
    if not is_concrete(compared):  # the loss closes over tracers
        return
    losses, replaced, moved = map(np.asarray, compared)
    if not _are_close(replaced[1:], losses[1:]):
        raise ValueError(
            "loss_fn couples the examples of a batch: an example's loss changed with another "
            "example, so per-example gradients are undefined; use inference mode "
            "(jn.models.split), where normalisation takes its running statistics"
        )
    if not _are_close(moved, np.roll(losses, 1)):
        raise ValueError(
            "loss_fn depends on an example's place in the batch, as dropout with a fixed key does, "
            "so per-example gradients are undefined; use inference mode (jn.models.split), or make "
            "the noise an entry of the data"
        )


@jax.jit
def _compared_losses(loss_fn, params, few):
    """The losses; those after the first example became the second; those of the moved examples."""
    replaced = jax.tree.map(lambda x: x.at[0].set(x[1]), keys_cloned(few))
    moved = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), keys_cloned(few))
    replaced, moved = keys_cloned((replaced, moved))
    return tuple(loss_fn(params, batch) for batch in (few, replaced, moved))


def _are_close(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
