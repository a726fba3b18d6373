"""The noise of the gradient over a whole data set."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._results import Result
from .._streaming import default_chunk_size, map_examples, sum_examples
from .._tree import leaves_with_path, num_examples, path_name, squared_norm
from ._norms import check_finite, leaf_norms
from ._per_example import default_gradient_chunk, example_gradients, prepare


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
      noise_scale: covariance_trace / gradient_squared_norm, in examples.
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
    loss_fn: Callable, params: Any, data: Any, *, chunk_size: int | None = None
) -> NoiseProfile:
    """Measures the gradient noise over a data set, exactly, in two passes.

    The first pass forms ḡ = (1/n) Σ g_i; the second takes ‖g_i‖² and ‖g_i − ḡ‖² from the component
    gradients themselves, so that nothing cancels where all g_i are nearly alike. The ratio
    tr Σ / ‖ḡ‖² is the batch size at which noise and signal are of equal size.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      data: batch of all n ≥ 2 examples.
      chunk_size: most examples differentiated at a time; None takes as many as have gradients of
        about sixteen million numbers, and in the first pass about a million numbers of input.
        Memory is bounded by a chunk.

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
    loss_fn, data = prepare(loss_fn, params, data, chunk_size)
    n = num_examples(data)
    if n < 2:
        raise ValueError("data must hold at least two examples: one has no variance")
    size = chunk_size or default_gradient_chunk(params, n)
    mean_size = chunk_size or max(size, default_chunk_size(data))
    profile = _noise_profile(loss_fn, params, data, size, mean_size)
    check_finite(profile.squared_norms)
    return profile


@functools.partial(jax.jit, static_argnums=(3, 4))
def _noise_profile(loss_fn, params, data, chunk_size, mean_chunk_size) -> NoiseProfile:
    n = num_examples(data)

    def gradient_sum(chunk, weights):
        return jax.grad(lambda p: jnp.sum(weights * loss_fn(p, chunk)))(params)

    total = sum_examples(gradient_sum, data, mean_chunk_size)
    mean = jax.tree.map(lambda g: g / n, total)

    def norms(chunk):
        gradients = example_gradients(loss_fn, params, chunk)
        noise = jax.tree.map(lambda g, m: g - m, gradients, mean)
        return leaf_norms(gradients), leaf_norms(noise)

    layer_norms, layer_noise = map_examples(norms, data, chunk_size)
    names = [path_name(path) or "params" for path, _ in leaves_with_path(params)]
    squared_norms, noise_squared_norms = sum(layer_norms), sum(layer_noise)
    gradient_squared_norm = squared_norm(mean)
    covariance_trace = jnp.sum(noise_squared_norms) / (n - 1)
    return NoiseProfile(
        squared_norms=squared_norms,
        noise_squared_norms=noise_squared_norms,
        mean_squared_norm=jnp.mean(squared_norms),
        gradient_squared_norm=gradient_squared_norm,
        covariance_trace=covariance_trace,
        noise_scale=covariance_trace / gradient_squared_norm,
        layer_squared_norms=dict(zip(names, layer_norms, strict=True)),
        layer_gradient_squared_norm={
            name: squared_norm(leaf)
            for name, leaf in zip(names, jax.tree.leaves(mean), strict=True)
        },
        layer_covariance_trace={
            name: jnp.sum(noise) / (n - 1) for name, noise in zip(names, layer_noise, strict=True)
        },
    )
