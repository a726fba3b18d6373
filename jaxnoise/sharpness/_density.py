"""The density of the eigenvalues of the Hessian of the mean loss."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from .._checks import check_count, check_key, check_positive
from .._results import Result
from ._around import Around, full_precision
from ._eigenvalues import check_products
from ._lanczos import lanczos_step, ritz_values, start_lanczos

_MARGIN = 4  # widths of the kernel beyond the outermost nodes


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SpectralDensity(Result):
    """The smoothed density of the eigenvalues of a Hessian.

    Attributes:
      grid: (G,) λ.
      density: (G,) share of the eigenvalues per unit of λ; it integrates to 1.
      standard_error: (G,) of the density, over the probes.
      nodes: (K, m) quadrature nodes of each probe.
      weights: (K, m) their weights, which add up to 1 for each probe.
    """

    grid: Any
    density: Any
    standard_error: Any
    nodes: Any
    weights: Any


def spectral_density(
    key: jax.Array,
    loss_fn: Callable,
    params: Any,
    data: Any,
    *,
    num_probes: int = 8,
    num_iterations: int = 50,
    num_points: int = 512,
    width: Any = 0.01,
    chunk_size: int | None = None,
) -> SpectralDensity:
    """The density of the spectrum of H = ∇²L(w), by stochastic Lanczos quadrature.

        φ(λ) = (1/d) Σ_i N(λ; λ_i, σ²) ≈ (1/K) Σ_k Σ_j ω_kj N(λ; θ_kj, σ²)

    θ_kj and ω_kj are nodes and weights of the Gauss quadrature that m steps of Lanczos' method,
    started from the random unit vector k, give. It costs K·m products with H, each about two to
    three gradients over the data; memory is m copies of the parameters and a chunk of examples.

    Args:
      key: typed key.
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of d floating numbers; those of less than single precision are taken in it.
      data: batch of all n examples.
      num_probes: K ≥ 2 random vectors.
      num_iterations: m, steps of Lanczos' method, at most d.
      num_points: G, points of the grid.
      width: σ > 0 in parts of the range of the nodes.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `SpectralDensity`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, or a loss or a product with the Hessian is not finite.

    References:
      Ghorbani, Krishnan, Xiao, "An Investigation into Neural Net Optimization via Hessian
      Eigenvalue Density", 2019, section 2. Golub, Welsch, "Calculation of Gauss Quadrature Rules",
      1969.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * batch["x"] * (3.0 * w[0] ** 2 - w[1] ** 2)
      >>> data, key = {"x": jnp.ones(4)}, jax.random.key(0)
      >>> result = jn.sharpness.spectral_density(key, loss_fn, jnp.ones(2), data)
      >>> [round(float(x), 2) for x in result.nodes[0]]
      [-1.0, 3.0]
    """
    check_key(key)
    check_count(num_probes, "num_probes", 2)
    check_count(num_iterations, "num_iterations")
    check_count(num_points, "num_points", 2)
    check_positive(width, "width")
    around = Around.of(loss_fn, params, data, chunk_size)
    num_steps = min(num_iterations, around.size)
    with full_precision():
        result = _density(around, key, width, (num_probes, num_steps, num_points))
    check_products(result.nodes)
    return result


@functools.partial(jax.jit, static_argnums=3)
def _density(around: Around, key, width, options) -> SpectralDensity:
    num_probes, num_steps, num_points = options
    center = around.center

    def probe(key):
        state = start_lanczos(key, around.size, num_steps, center.dtype)
        step = functools.partial(lanczos_step, around.hessian_product)
        state = jax.lax.fori_loop(0, num_steps, lambda _, state: step(state), state)
        values, vectors, _ = ritz_values(state)
        return values, jnp.square(vectors[0])

    nodes, weights = jax.lax.map(probe, jax.random.split(key, num_probes))
    low, high = jnp.min(nodes), jnp.max(nodes)
    spread = jnp.where(high > low, high - low, jnp.maximum(jnp.abs(high), 1))
    sigma = width * spread
    grid = jnp.linspace(low - _MARGIN * sigma, high + _MARGIN * sigma, num_points)

    def smoothed(nodes, weights):
        kernel = norm.pdf(grid[:, None], nodes, sigma)
        return kernel @ weights

    densities = jax.vmap(smoothed)(nodes, weights)
    error = jnp.std(densities, axis=0, ddof=1) / jnp.sqrt(num_probes)
    return SpectralDensity(grid, jnp.mean(densities, axis=0), error, nodes, weights)
