"""PSNR and SSIM: how close images come to their references."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import check_numbers
from .._tree import common_dtype, is_concrete, wide


def psnr(
    image: ArrayLike, reference: ArrayLike, *, data_range: ArrayLike = 1.0
) -> Float[Array, " B"]:
    """Peak signal-to-noise ratio of every image, in decibels; infinite where images are identical.

        PSNR = 10 log₁₀(R² / MSE),   MSE the mean of (image − reference)² over pixels and channels

    Works under `jax.jit`.

    Args:
      image: (B, H, W, C) or (B, H, W).
      reference: of the same shape.
      data_range: R, the largest difference that two values can have: 1 for [0, 1], 2 for [−1, 1],
        255 for bytes.

    Returns:
      (B,) in at least single precision.

    Raises:
      ValueError: if shapes differ or aren't those above, or if data_range isn't positive or is left
        at 1 for integers.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> reference = jnp.zeros((1, 8, 8, 3))
      >>> jn.metrics.psnr(reference + 0.1, reference).round(2).tolist()
      [20.0]

    References:
      Wang, Bovik, "Mean Squared Error: Love It or Leave It?", 2009, eq. 3
    """
    image, reference = _pair(image, reference, data_range)
    error = jnp.mean((image - reference) ** 2, axis=tuple(range(1, image.ndim)))
    return 10 * jnp.log10(jnp.asarray(data_range, error.dtype) ** 2 / error)


def ssim(
    image: ArrayLike,
    reference: ArrayLike,
    *,
    data_range: ArrayLike = 1.0,
    window: Literal["uniform", "gaussian"] = "uniform",
    sample_covariance: bool = True,
) -> Float[Array, " B"]:
    """Structural similarity of every image: mean over all windows inside it, and over channels, of

        (2 μ_x μ_y + c₁)(2 σ_xy + c₂) / ((μ_x² + μ_y² + c₁)(σ_x² + σ_y² + c₂))

    with the weighted means μ, variances σ² and covariance σ_xy of image and reference in a window,
    c₁ = (0.01 R)² and c₂ = (0.03 R)². The defaults are those of scikit-image; Wang et al. take
    `window="gaussian", sample_covariance=False`. Works under `jax.jit`, in about thirty times the
    memory of the images: give large sets in batches.

    Args:
      image: (B, H, W, C) or (B, H, W).
      reference: of the same shape.
      data_range: R, the largest difference that two values can have: 1 for [0, 1], 2 for [−1, 1],
        255 for bytes.
      window: "uniform", 7×7 pixels of equal weight, or "gaussian", 11×11 pixels with a standard
        deviation of 1.5.
      sample_covariance: whether variances and covariance of a window of N pixels are multiplied by
        N / (N − 1).

    Returns:
      (B,) in at least single precision, 1 where images are identical.

    Raises:
      ValueError: if shapes differ or aren't those above, images are smaller than the window, window
        is unknown, or if data_range isn't positive or is left at 1 for integers.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> reference = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
      >>> jn.metrics.ssim(reference, reference).tolist()
      [1.0, 1.0]

    References:
      Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to
      Structural Similarity", 2004, eq. 13
    """
    image, reference = _pair(image, reference, data_range)
    if window not in ("uniform", "gaussian"):
        raise ValueError(f'window must be "uniform" or "gaussian", got {window!r}')
    weights = _weights(window)
    if min(image.shape[1:3]) < len(weights):
        raise ValueError(
            f"image must have at least {len(weights)}×{len(weights)} pixels, the {window} window, "
            f"got {image.shape[1]}×{image.shape[2]}"
        )
    pixels = len(weights) ** 2
    correction = pixels / (pixels - 1) if sample_covariance else 1.0
    return _ssim(image, reference, jnp.asarray(data_range, image.dtype), correction, weights)


@functools.partial(jax.jit, static_argnames=("correction", "weights"))
def _ssim(
    image: Array, reference: Array, data_range: Array, correction: float, weights: tuple[float, ...]
) -> Array:
    mean_x, mean_y, *spreads = _window_moments(image, reference, weights)
    var_x, var_y, cov = (correction * spread for spread in spreads)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return jnp.mean(luminance * structure, axis=(1, 2))


def _window_moments(x: Array, y: Array, weights: tuple[float, ...]) -> tuple[Array, ...]:
    """Means, variances and covariance (B, H', W'·C) in every window that lies inside the images.

    First along columns, then along rows: a spread within a window is the mean of the spreads within
    its columns plus the spread of their means. Unlike E[x²] − E[x]², this loses no digits. Pixels
    and channels share an axis, so that the innermost loop is long.
    """
    channels = math.prod(x.shape[3:])
    x, y = (image.reshape(*image.shape[:2], -1) for image in (x, y))
    var_x = var_y = cov = jnp.zeros_like(x)

    def average(terms: Iterable[Array]) -> Array:
        return functools.reduce(jnp.add, (w * t for w, t in zip(weights, terms, strict=True)))

    for axis, step in ((1, 1), (2, channels)):
        length = x.shape[axis] - step * (len(weights) - 1)
        parts = [
            [jax.lax.slice_in_dim(m, k, k + length, axis=axis) for m in (x, y, var_x, var_y, cov)]
            for k in range(0, step * len(weights), step)
        ]
        x, y = average(part[0] for part in parts), average(part[1] for part in parts)
        var_x = average(within + (px - x) ** 2 for px, _, within, _, _ in parts)
        var_y = average(within + (py - y) ** 2 for _, py, _, within, _ in parts)
        cov = average(within + (px - x) * (py - y) for px, py, _, _, within in parts)
    return x, y, var_x, var_y, cov


def _weights(window: str) -> tuple[float, ...]:
    """A window's weights along one axis; they sum to 1."""
    gaussian = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.ones(7) if window == "uniform" else gaussian
    return tuple((weights / weights.sum()).tolist())


def _pair(image: ArrayLike, reference: ArrayLike, data_range: ArrayLike) -> tuple[Array, Array]:
    """Checked images in one floating precision, at least single."""
    given = {"image": image, "reference": reference, "data_range": data_range}
    for name, value in given.items():
        check_numbers(value, name)
    image, reference = jnp.asarray(image), jnp.asarray(reference)
    if image.shape != reference.shape:
        raise ValueError(
            f"image and reference must have one shape, got {image.shape} and {reference.shape}"
        )
    if image.ndim not in (3, 4) or not image.size:
        raise ValueError(f"image must be (B, H, W, C) or (B, H, W) with pixels, got {image.shape}")
    dtype = common_dtype(image.dtype, reference.dtype)
    if is_concrete(data_range):
        if not np.asarray(data_range) > 0:
            raise ValueError(f"data_range must be positive, got {data_range}")
        if jnp.issubdtype(dtype, jnp.integer) and np.asarray(data_range) <= 1:
            raise ValueError(f"image holds {dtype} numbers: give their data_range, such as 255")
    return wide(image.astype(dtype)), wide(reference.astype(dtype))
