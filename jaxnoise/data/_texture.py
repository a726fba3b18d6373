"""Smooth random fields and small helpers of the synthetic images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key


def uniforms(key: Key[Array, ""], *shapes: tuple[int, ...]) -> list[Array]:
    """Uniform numbers in [0, 1) in arrays of these shapes, drawn at once: that compiles faster."""
    sizes = [math.prod(shape) for shape in shapes]
    parts = jnp.split(jax.random.uniform(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def smooth_noise(key: Key[Array, ""], size: int, periods: Sequence[float]) -> Float[Array, "P H W"]:
    """Gaussian noise of variance 1 for each period: splines with a knot every `period` pixels."""
    knots = [max(4, round(size / period)) for period in periods]
    values = jax.random.normal(key, (sum(n * n for n in knots),))
    fields, used = [], 0
    for n in knots:
        spline = _spline(size, n)
        knot_values = values[used : used + n * n].reshape(n, n)
        fields.append(jnp.linalg.multi_dot([spline, knot_values, spline.T], precision="highest"))
        used += n * n
    return jnp.stack(fields)


@functools.cache
def _spline(size: int, knots: int) -> np.ndarray:
    """Cubic splines through independent values as a matrix (size, knots) with rows of norm 1."""
    from scipy.interpolate import CubicSpline  # takes long to import

    at = np.linspace(0.5, knots - 1.5, size)
    weights = CubicSpline(np.arange(knots), np.eye(knots))(at)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def blur(image: Float[Array, "H W *C"], sigma: float | Array, radius: int) -> Array:
    """Gaussian blur of standard deviation sigma, cut off at radius pixels, border repeated."""
    taps = jnp.exp(-0.5 * (jnp.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in (0, 1):
        width = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
        padded, length = jnp.pad(image, width, mode="edge"), image.shape[axis]
        image = sum(
            taps[i] * lax.slice_in_dim(padded, i, i + length, axis=axis)
            for i in range(2 * radius + 1)
        )  # pyright: ignore[reportAssignmentType]
    return image


def as_bytes(levels: Array) -> Array:
    """Gray levels or colours on a scale of 0 … 255, rounded to uint8."""
    return jnp.round(jnp.clip(levels, 0, 255)).astype(jnp.uint8)
