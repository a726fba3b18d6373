"""Functions whose smoothing is known exactly."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_choice, check_count
from ._directions import DISTRIBUTIONS, Distribution

_NODES = 256


def smoothed_quadratic(
    x: jax.Array,
    delta: Any,
    matrix: Any,
    vector: Any = 0.0,
    constant: Any = 0.0,
    distribution: Distribution = "ball",
) -> jax.Array:
    """The smoothing of f(x) = xᵀAx/2 + bᵀx + c, which lifts it evenly.

        f̂_δ(x) = f(x) + (δ²/2) tr(A) E‖u‖²/d

    with E‖u‖² = d/(d + 2) for the ball and 1 for the Gaussian.

    Args:
      x: (…, d) points.
      delta: δ.
      matrix: A (d, d), symmetric or not.
      vector: b (d,).
      constant: c.
      distribution: of u, "ball" or "gaussian".

    Returns:
      (…) values.

    Raises:
      ValueError: if the distribution is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> x, a = jnp.array([1.0, 1.0]), jnp.diag(jnp.array([2.0, 6.0]))
      >>> float(jn.smoothing.smoothed_quadratic(x, 0.5, a))  # 4 + 0.5² · 8/(2 · 4)
      4.25
    """
    x, matrix = jnp.asarray(x), jnp.asarray(matrix)
    d = x.shape[-1]
    if matrix.shape != (d, d):
        raise ValueError(f"matrix must be ({d}, {d}) for x of shape {x.shape}, got {matrix.shape}")
    value = jnp.sum(x * (x @ matrix.T), -1) / 2 + jnp.sum(vector * x, -1) + constant
    return value + delta**2 / 2 * jnp.trace(matrix) * mean_square(d, distribution) / d


def smoothed_cosines(
    x: jax.Array,
    delta: Any,
    amplitudes: Any,
    frequencies: Any,
    distribution: Distribution = "ball",
) -> jax.Array:
    """The smoothing of f(x) = Σ_i a_i cos(ω_i x_i), which damps each wave.

        f̂_δ(x) = Σ_i a_i φ(ω_i δ) cos(ω_i x_i)

    with φ of `cosine_factor`.

    Args:
      x: (…, d) points.
      delta: δ.
      amplitudes: a, broadcast to (d,).
      frequencies: ω, broadcast to (d,).
      distribution: of u, "ball" or "gaussian".

    Returns:
      (…) values.

    Raises:
      ValueError: if the distribution is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> x = jnp.zeros(2)
      >>> round(float(jn.smoothing.smoothed_cosines(x, 1.0, 3.0, 2.0, "gaussian")), 4)  # 6/e
      2.2073
    """
    x = jnp.asarray(x)
    for name, value in (("amplitudes", amplitudes), ("frequencies", frequencies)):
        if jnp.shape(value) not in ((), (1,), x.shape[-1:]):
            raise ValueError(
                f"{name} must be one number or {x.shape[-1]}, as x has, got {jnp.shape(value)}"
            )
    factor = cosine_factor(frequencies * jnp.asarray(delta), x.shape[-1], distribution)
    return jnp.sum(amplitudes * factor * jnp.cos(frequencies * x), -1)


def cosine_factor(z: Any, dimension: int, distribution: Distribution = "ball") -> jax.Array:
    """By how much smoothing damps a plane wave: φ(z) = E cos(z u_1), with z = ωδ.

        Gaussian: φ(z) = exp(−z²/(2d))
        ball:     φ(z) = Γ(d/2 + 1) (2/z)^{d/2} J_{d/2}(z), which is sin(z)/z for d = 1

    J is the Bessel function of the first kind. The ball's factor may be negative: the wave is then
    turned over. It is computed as the integral of cos(z t) over the density of one coordinate,
    ∝ (1 − t²)^{(d−1)/2}, by Gauss's quadrature, to rounding for |z| ≤ 400.

    Args:
      z: ωδ, of any shape.
      dimension: d ≥ 1.
      distribution: of u, "ball" or "gaussian".

    Returns:
      φ, shaped like z.

    Raises:
      ValueError: if the distribution is unknown or the dimension not positive.

    Example:
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.cosine_factor(2.0, 1)), 4)  # sin(2)/2
      0.4546
      >>> round(float(jn.smoothing.cosine_factor(2.0, 2, "gaussian")), 4)  # 1/e
      0.3679
    """
    check_choice(distribution, "distribution", DISTRIBUTIONS)
    check_count(dimension, "dimension")
    z = jnp.asarray(z, jnp.result_type(z, float))
    if distribution == "gaussian":
        return jnp.exp(-(z**2) / (2 * dimension))
    from scipy.special import roots_gegenbauer

    nodes, weights = roots_gegenbauer(_NODES, dimension / 2)
    weights = jnp.asarray(weights / weights.sum(), z.dtype)
    return jnp.cos(z[..., None] * jnp.asarray(nodes, z.dtype)) @ weights


def mean_square(dimension: int, distribution: Distribution) -> float:
    """E‖u‖²."""
    check_choice(distribution, "distribution", DISTRIBUTIONS)
    return dimension / (dimension + 2) if distribution == "ball" else 1.0
