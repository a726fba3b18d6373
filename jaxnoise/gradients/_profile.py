"""The noise of the gradient over a whole data set."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from .._results import Result
from .._streaming import NUM_BLOCKS, contains, in_blocks, map_and_sum, spread
from .._tree import is_concrete, leaves_with_path, num_examples, path_name, squared_norm
from ._norms import (
    SHOWS_PROGRESS,
    check_finite,
    gradient_pass,
    leaf_norms_and_mean,
    total_norms,
)
from ._per_example import prepare_spread
from ._taps import taps_of

# The part of ‖g_i‖² + ‖ḡ‖² below which ‖g_i − ḡ‖² is not taken from their difference.
_LEFT = 0.03


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class NoiseProfile(Result):
    """Statistics of the n component gradients g_i around their mean ḡ.

    Attributes:
      squared_norms: (n,) ‖g_i‖².
      noise_squared_norms: (n,) ‖g_i − ḡ‖².
      mean_squared_norm: (1/n) Σ ‖g_i‖².
      gradient_squared_norm: ‖ḡ‖².
      covariance_trace: Σ ‖g_i − ḡ‖² / (n − 1), the unbiased trace of the covariance of g.
      noise_scale: covariance_trace / gradient_squared_norm, in examples; 0 without noise.
      layer_squared_norms: parameter name → (n,), its part of squared_norms.
      layer_gradient_squared_norm: parameter name → its part of gradient_squared_norm.
      layer_covariance_trace: parameter name → its part of covariance_trace.
    """

    squared_norms: Any
    noise_squared_norms: Any
    mean_squared_norm: Any
    gradient_squared_norm: Any
    covariance_trace: Any
    noise_scale: Any
    layer_squared_norms: dict[str, Any]
    layer_gradient_squared_norm: dict[str, Any]
    layer_covariance_trace: dict[str, Any]


def noise_profile(
    loss_fn: Callable,
    params: Any,
    data: Any,
    *,
    chunk_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> NoiseProfile:
    """Measures the gradient noise over a data set, exactly, in two passes.

    The first pass takes ‖g_i‖² and ḡ = (1/n) Σ g_i together (see `squared_norms_and_mean`), the
    second, forward only, the derivatives ⟨g_i, ḡ⟩ of the losses along ḡ, and so
    ‖g_i − ḡ‖² = ‖g_i‖² − 2⟨g_i, ḡ⟩ + ‖ḡ‖². Where too few digits of that remain, because the g_i, or
    those of a layer, are nearly alike, a further pass takes the norms of the differences
    themselves; inside a transformation such as `jax.jit`, where that cannot be seen, always. All of
    it costs about as much as two gradients of the mean loss over the data, three with that pass.

    The ratio tr Σ / ‖ḡ‖² is the batch size at which noise and signal are of equal size.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      data: batch of all n ≥ 2 examples.
      chunk_size: most examples worked on at a time, see `squared_norms`; memory is bounded by it.
      sharding: how to distribute the examples over devices, see `squared_norms`.

    Returns:
      `NoiseProfile`.

    Raises:
      ValueError: if there are fewer than two examples, loss_fn gives anything but (B,) losses or
        couples examples, or a gradient is not finite.

    References:
      McCandlish, Kaplan, Amodei, "An Empirical Model of Large-Batch Training", 2018, eq. 2.9
      (the simple noise scale).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> data = {"x": jnp.array([1.0, 3.0])}
      >>> profile = jn.gradients.noise_profile(loss_fn, jnp.array(0.0), data)
      >>> float(profile.covariance_trace), float(profile.noise_scale)
      (2.0, 0.5)
    """
    loss_fn, params, examples = prepare_spread(loss_fn, params, data, chunk_size, "data", sharding)
    if examples.n < 2:
        raise ValueError("data must hold at least two examples: one has no variance")
    norms, mean = leaf_norms_and_mean(loss_fn, params, examples, chunk_size)
    check_finite(total_norms(norms))
    if is_concrete(norms) and not _has_own_rules(loss_fn, params, examples.data):
        slopes = _slopes(loss_fn, params, examples, mean, chunk_size)
        profile, is_accurate = _profile_by_slopes(norms, slopes, mean)
        if is_accurate:
            return profile
    noise, _ = gradient_pass(
        loss_fn, params, examples, chunk_size=chunk_size, description="gradient noise", center=mean
    )
    return _profile(norms, total_norms(noise), [jnp.sum(leaf) for leaf in noise], mean)


def _has_own_rules(*inputs) -> bool:
    """Whether a part of the loss has a backward rule of its own, which forward mode can't take."""
    return contains({"custom_vjp_call", "custom_vjp_call_jaxpr"}, _losses, *_shapes(inputs))


def _losses(loss_fn, params, data) -> jax.Array:
    return loss_fn(params, data)


def _shapes(inputs: Any) -> Any:
    """What a program is traced with, wherever the arrays are."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)


def _slopes(loss_fn, params, examples, direction, chunk_size):
    """(n,) ⟨g_i, v⟩ for a direction v."""
    direction = jax.tree.map(lambda v, w: v.astype(w.dtype), direction, params)
    program = functools.partial(_slopes_of_block, loss_fn, params, examples, direction, chunk_size)
    if examples.n < SHOWS_PROGRESS:
        return examples.finish(*program(None, (0, NUM_BLOCKS)))[0]
    losses = jax.eval_shape(_losses, *_shapes((loss_fn, params, examples.data)))
    so_far = examples.start(jnp.zeros(examples.n, losses.dtype), ())
    return examples.finish(*in_blocks(program, so_far, examples.n, "gradient noise"))[0]


@functools.partial(jax.jit, static_argnums=4)
def _slopes_of_block(loss_fn, params, examples, direction, chunk_size, so_far, blocks):
    def work(data, counted, so_far, loss_fn, params, direction, blocks):
        def slopes(chunk, weights):
            return jax.jvp(lambda w: loss_fn(w, chunk), (params,), (direction,))[1], ()

        size = chunk_size or taps_of(loss_fn, params, data).default_chunk_size(num_examples(data))
        return map_and_sum(slopes, data, size, so_far, blocks, counted)

    return spread(work, examples, so_far, loss_fn, params, direction, blocks)


@jax.jit
def _profile_by_slopes(layer_norms: list, slopes: jax.Array, mean: Any) -> tuple:
    """The profile, and whether no more than a digit or two is lost in any part of it."""
    n, norms = len(slopes), total_norms(layer_norms)
    layer_signal = [n * squared_norm(leaf) for leaf in jax.tree.leaves(mean)]
    layer_total = [jnp.sum(leaf) for leaf in layer_norms]
    layer_noise = [a - b for a, b in zip(layer_total, layer_signal, strict=True)]
    gradient_squared_norm = squared_norm(mean)
    noise = norms - 2 * slopes + gradient_squared_norm
    is_accurate = jnp.all(noise >= _LEFT * (norms + gradient_squared_norm))
    for left, whole in zip(layer_noise, layer_total, strict=True):
        is_accurate &= left >= _LEFT * whole
    return _profile(layer_norms, noise, layer_noise, mean), is_accurate


@jax.jit
def _profile(layer_norms: list, noise: jax.Array, layer_noise: list, mean: Any) -> NoiseProfile:
    paths, leaves = zip(*leaves_with_path(mean), strict=True)
    names = [path_name(path) or "params" for path in paths]
    squared_norms, gradient_squared_norm = total_norms(layer_norms), squared_norm(mean)
    n, covariance_trace = len(noise), jnp.sum(noise) / (len(noise) - 1)
    return NoiseProfile(
        squared_norms=squared_norms,
        noise_squared_norms=noise,
        mean_squared_norm=jnp.mean(squared_norms),
        gradient_squared_norm=gradient_squared_norm,
        covariance_trace=covariance_trace,
        noise_scale=jnp.where(covariance_trace == 0, 0, covariance_trace / gradient_squared_norm),
        layer_squared_norms=dict(zip(names, layer_norms, strict=True)),
        layer_gradient_squared_norm=dict(zip(names, map(squared_norm, leaves), strict=True)),
        layer_covariance_trace={
            name: total / (n - 1) for name, total in zip(names, layer_noise, strict=True)
        },
    )
