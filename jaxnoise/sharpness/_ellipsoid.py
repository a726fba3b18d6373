"""Sets of perturbations: balls of two norms, scaled coordinate by coordinate."""

from __future__ import annotations

import jax
import jax.numpy as jnp

_MAX_STEPS = 100


def project_on_ellipsoid(z: jax.Array, scale: jax.Array, radius: jax.Array) -> jax.Array:
    """The point nearest to z with ‖x ⊘ s‖₂ ≤ ρ; where s is zero, so is x.

    With N(μ) = ‖u ∘ s²/(s² + μ)‖, u = z ⊘ s, the nearest point is z ∘ s²/(s² + μ) with the μ ≥ 0 at
    which N(μ) = ρ. As 1/N is increasing and concave, Newton's method on 1/N(μ) = 1/ρ climbs from
    μ = 0 to it without passing it.

    Args:
      z: (d,) point.
      scale: (d,) s ≥ 0.
      radius: ρ > 0.

    References:
      Moré, Sorensen, "Computing a Trust Region Step", 1983, section 3 (the iteration on 1/N).
    """
    squares = jnp.square(scale)
    is_free = squares > 0
    u = jnp.where(is_free, z / jnp.where(is_free, scale, 1), 0)
    tolerance = 16 * jnp.finfo(z.dtype).eps

    def shrink(mu):
        return jnp.where(is_free, squares / jnp.where(is_free, squares + mu, 1), 0)

    def norm(mu):
        return jnp.linalg.norm(u * shrink(mu))

    def is_outside(state):
        _, found, steps = state
        return (found > radius * (1 + tolerance)) & (steps < _MAX_STEPS)

    def newton(state):
        mu, found, steps = state
        parts = jnp.square(u * shrink(mu)) / jnp.where(is_free, squares + mu, 1)
        mu = mu + (found - radius) / radius * (jnp.square(found) / jnp.sum(parts))
        return mu, norm(mu), steps + 1

    zero = jnp.zeros((), z.dtype)
    mu, _, _ = jax.lax.while_loop(is_outside, newton, (zero, norm(zero), 0))
    return z * shrink(mu)


def project_on_box(z: jax.Array, scale: jax.Array, radius: jax.Array) -> jax.Array:
    """The point nearest to z with |x_i| ≤ ρ s_i."""
    return jnp.clip(z, -radius * scale, radius * scale)


def uniform_in_ball(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """Uniform in the unit ball of the Euclidean norm, over the last axis."""
    direction_key, radius_key = jax.random.split(key)
    normal = jax.random.normal(direction_key, shape, dtype)
    uniform = jax.random.uniform(radius_key, (*shape[:-1], 1), dtype)
    unit = normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)
    return unit * uniform ** (1 / shape[-1])
