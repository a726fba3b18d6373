"""Sine and cosine that vectorise: XLA's CPU backend calls the C library's, number by number."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

# sin(2πy) = y (c_0 + c_1 y² + …) for |y| ≤ ¼, interpolated at Chebyshev's nodes to 7e-9.
_COEFFICIENTS = (6.28318528, -41.34168061, 81.60247637, -76.58117264, 39.75982707)


def cosine(x: jax.Array) -> jax.Array:
    """cos x, in single precision within 2e-7 (1 + |x|)."""
    return cosine_of_turns(x / (2 * math.pi)) if x.dtype == jnp.float32 else jnp.cos(x)


def sine(x: jax.Array) -> jax.Array:
    """sin x, in single precision within 2e-7 (1 + |x|)."""
    return sine_of_turns(x / (2 * math.pi)) if x.dtype == jnp.float32 else jnp.sin(x)


@jax.custom_jvp
def cosine_of_turns(t: jax.Array) -> jax.Array:
    """cos 2πt."""
    if t.dtype != jnp.float32:
        return jnp.cos(2 * math.pi * t)
    return _quarter(0.25 - jnp.abs(t - jnp.round(t)))


@jax.custom_jvp
def sine_of_turns(t: jax.Array) -> jax.Array:
    """sin 2πt."""
    if t.dtype != jnp.float32:
        return jnp.sin(2 * math.pi * t)
    y = t - jnp.round(t)
    return _quarter(jnp.where(jnp.abs(y) > 0.25, jnp.copysign(0.5, y) - y, y))


cosine_of_turns.defjvps(lambda dt, _, t: -2 * math.pi * sine_of_turns(t) * dt)
sine_of_turns.defjvps(lambda dt, _, t: 2 * math.pi * cosine_of_turns(t) * dt)


def _quarter(y: jax.Array) -> jax.Array:
    """sin 2πy for |y| ≤ ¼."""
    square, total = y * y, jnp.zeros_like(y)
    for coefficient in reversed(_COEFFICIENTS):
        total = total * square + coefficient
    return y * total
