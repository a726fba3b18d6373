"""The distributions that kernels start from.

The numbers are those of `nnx.initializers`, but drawn in one row and shaped afterwards: XLA on CPU
takes up to eight times as long to compile a generator for the four axes of a convolution's kernel.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

_CUT_AT_TWO = 0.87962566103423978  # standard deviation of N(0, 1) cut off at ±2


def he_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Variance 2 / fan in; a normal distribution cut off at two of its own standard deviations."""
    scale = math.sqrt(2 / math.prod(shape[:-1])) / _CUT_AT_TWO
    row = jax.random.truncated_normal(key, -2, 2, (math.prod(shape),), dtype)
    return scale * row.reshape(shape)


def he_fan_out(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """N(0, 2 / fan out)."""
    scale = math.sqrt(2 / (math.prod(shape[:-2]) * shape[-1]))
    return scale * _normal(key, shape, dtype)


def gan_normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """N(0, 0.02²)."""
    return 0.02 * _normal(key, shape, dtype)


def _normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)
