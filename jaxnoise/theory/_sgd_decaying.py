"""SGD with step sizes that change from step to step, decaying ones above all."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import check_step_size, check_strong_convexity, floats, ratio


def sgd_nonconvex_decaying_bound(
    step_sizes: Any, smoothness: Any, variance: Any, initial_gap: Any, *, batch_size: Any = 1
) -> jax.Array:
    """Bounds the weighted mean squared gradient norm of SGD with step sizes γ_0, γ_1, …

        Σ_{k≤K} γ_k E‖∇f(x_k)‖² / Σ_{k≤K} γ_k ≤ (2Δ₀ + (Lσ²/B) Σ_{k≤K} γ_k²) / Σ_{k≤K} γ_k

    for γ_k ≤ 1/L. It tends to zero where Σ γ_k diverges and γ_k tends to zero. Constant steps give
    `sgd_nonconvex_bound`. A decaying step that needs no K in advance is
    `sgd_nonconvex_step_size(jnp.arange(K + 1), …)`.

    Args:
      step_sizes: (…, K + 1) values of γ_k ≥ 0.
      smoothness, variance, initial_gap, batch_size: L, σ², Δ₀ and B as for `sgd_nonconvex_bound`,
        broadcast against the leading axes.

    Returns:
      (…, K + 1) bounds on the means over the iterates 0…k, for each k.

    Raises:
      ValueError: if an argument is negative or a step size above 1/L.

    References:
      Bottou, Curtis, Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018,
      theorem 4.10; the constants are those of the lecture's theorem 1.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.sgd_nonconvex_decaying_bound(jnp.array([1.0, 0.5, 0.5]), 1.0, 2.0, 1.0)
      Array([4. , 3. , 2.5], dtype=float32)
    """
    steps, smooth, noise, gap, batch = floats(
        step_sizes=step_sizes,
        smoothness=smoothness,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    _check_step_sizes(steps, smooth, 1)
    floor = (smooth * noise / batch)[..., None] * jnp.cumsum(steps**2, axis=-1)
    return ratio(2 * gap[..., None] + floor, jnp.cumsum(steps, axis=-1))


def sgd_convex_decaying_bound(
    step_sizes: Any,
    smoothness: Any,
    variance: Any,
    initial_squared_distance: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """Bounds the weighted mean gap of SGD with step sizes γ_0, γ_1, …, f convex.

        Σ_{k≤K} γ_k E[f(x_k) − f*] / Σ_{k≤K} γ_k ≤ (Δ₀ + (σ²/B) Σ_{k≤K} γ_k²) / Σ_{k≤K} γ_k

    for γ_k ≤ 1/(2L). It tends to zero where Σ γ_k diverges and γ_k tends to zero. Constant steps
    give `sgd_convex_bound`. A decaying step that needs no K in advance is
    `sgd_convex_step_size(jnp.arange(K + 1), …)`.

    Args:
      step_sizes: (…, K + 1) values of γ_k ≥ 0.
      smoothness, variance, initial_squared_distance, batch_size: L, σ², Δ₀ and B as for
        `sgd_convex_bound`, broadcast against the leading axes.

    Returns:
      (…, K + 1) bounds on the means over the iterates 0…k, for each k.

    Raises:
      ValueError: if an argument is negative or a step size above 1/(2L).

    References:
      The proof is that of theorem 2 of "SGD rates", lecture notes, with the steps kept apart.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.sgd_convex_decaying_bound(jnp.array([0.5, 0.25, 0.25]), 1.0, 4.0, 1.0)
      Array([4.  , 3.  , 2.5], dtype=float32)
    """
    steps, smooth, noise, distance, batch = floats(
        step_sizes=step_sizes,
        smoothness=smoothness,
        variance=variance,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    _check_step_sizes(steps, smooth, 0.5)
    floor = (noise / batch)[..., None] * jnp.cumsum(steps**2, axis=-1)
    return ratio(distance[..., None] + floor, jnp.cumsum(steps, axis=-1))


def sgd_strongly_convex_decaying_bound(
    step_sizes: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """Bounds the gaps of all iterates of SGD with step sizes γ_0, γ_1, …, f strongly convex.

        e_0 = Δ₀,   e_{k+1} = (1 − γ_kμ) e_k + γ_k²Lσ²/(2B),   E[f(x_k)] − f* ≤ e_k,   γ_k ≤ 1/L

    Constant steps give `sgd_strongly_convex_bound` with `sharp=True`.

    Args:
      step_sizes: (…, K) values of γ_k ≥ 0.
      smoothness, strong_convexity, variance, initial_gap, batch_size: L, μ, σ², Δ₀ and B as for
        `sgd_strongly_convex_bound`, broadcast against the leading axes.

    Returns:
      (…, K + 1) bounds e_0, …, e_K.

    Raises:
      ValueError: if an argument is negative, μ > L, or a step size above 1/L.

    References:
      Bottou, Curtis, Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018,
      theorem 4.7, whose recursion this is.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.sgd_strongly_convex_decaying_bound(jnp.array([1.0, 0.5]), 1.0, 1.0, 2.0, 4.0)
      Array([4.  , 1.  , 0.75], dtype=float32)
    """
    steps, smooth, convex, noise, gap, batch = floats(
        step_sizes=step_sizes,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    _check_step_sizes(steps, smooth, 1)

    def advance(gap, step):
        gap = (1 - step * convex) * gap + step**2 * smooth * noise / (2 * batch)
        return gap, gap

    start = jnp.broadcast_arrays(gap, steps[..., 0] * smooth * convex * noise * batch)[0]
    gaps = jax.lax.scan(advance, start, jnp.moveaxis(steps, -1, 0))[1]
    return jnp.moveaxis(jnp.concatenate([start[None], gaps]), 0, -1)


def sgd_strongly_convex_decaying_step_size(
    step: Any, smoothness: Any, strong_convexity: Any
) -> jax.Array:
    """A decaying step size for which the gap falls as 1/k.

        γ_k = 2/(μk + 2L)      gives      E[f(x_k)] − f* ≤ max{2Lσ²/μ², 2LΔ₀/μ}/(k + 2L/μ)

    It needs no number of steps in advance and no σ². `sgd_strongly_convex_decaying_bound` is a
    little sharper than the bound shown.

    Args:
      step: k = 0, 1, 2, …
      smoothness, strong_convexity: L and μ as for `sgd_strongly_convex_bound`.

    Returns:
      γ_k, at most 1/L.

    Raises:
      ValueError: if an argument is negative or μ > L.

    References:
      Bottou, Curtis, Nocedal, "Optimization Methods for Large-Scale Machine Learning", 2018,
      theorem 4.7 with β = 2/μ and γ = 2L/μ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.sgd_strongly_convex_decaying_step_size(jnp.array([0, 4, 12]), 2.0, 1.0)
      Array([0.5  , 0.25 , 0.125], dtype=float32)
    """
    k, smooth, convex = floats(step=step, smoothness=smoothness, strong_convexity=strong_convexity)
    check_strong_convexity(strong_convexity, smoothness)
    return 2 / (convex * k + 2 * smooth)


def _check_step_sizes(step_sizes: jax.Array, smoothness: jax.Array, most: float) -> None:
    if step_sizes.ndim == 0:
        raise ValueError("step_sizes must be an array (…, steps), got a single number")
    check_step_size(step_sizes, smoothness[..., None], most)
