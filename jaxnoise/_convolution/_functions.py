"""The two public functions, with the signatures of `jax.lax`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType

from ._maps import convolution_map
from ._window import Window
from ._xla import channels_last


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Convolves as `jax.lax.conv_general_dilated` does, with derivatives that are fast in loops.

    Meant for the argument `conv_general_dilated` of `flax.nnx.Conv`. Channels-last layouts without
    groups take the fast way, on CPU; anything else, and other platforms, get XLA's convolution.

    Args:
      lhs: (N, spatial…, C) images.
      rhs: (kernel…, C, O) kernel.
      window_strides: one stride per spatial dimension.
      padding: "SAME", "VALID" or a (low, high) pair per spatial dimension.
      lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, batch_group_count,
        precision, preferred_element_type, out_sharding: as for `conv_general_dilated`.

    Returns:
      (N, spatial…, O).

    Raises:
      TypeError, ValueError: as `conv_general_dilated`, for shapes that do not fit.

    References:
      Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, for dense 3×3 kernels.
      Mathieu, Henaff, LeCun, "Fast Training of Convolutional Networks through FFTs", 2014, for
      larger ones.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxnoise.models import convolution
      >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
      >>> convolution(images, kernel, (1, 1), "VALID",
      ...             dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
      (1, 2, 2, 5)
    """
    xla = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        **({} if out_sharding is None else {"out_sharding": out_sharding}),
    )
    y = jax.eval_shape(xla, lhs, rhs)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    strides, lhs_dilation, rhs_dilation = (
        tuple(steps or (1,) * (lhs.ndim - 2))
        for steps in (window_strides, lhs_dilation, rhs_dilation)
    )
    dilated = max(lhs_dilation, default=1) > 1
    if (
        numbers != channels_last(lhs.ndim - 2)
        or feature_group_count * batch_group_count > 1
        or (dilated and max(strides) > 1)
        or 0 in (*lhs.shape, *y.shape)
        or not _is_sharded_automatically()
    ):
        return xla(lhs, rhs)
    reach = [(k - 1) * d + 1 for k, d in zip(rhs.shape, rhs_dilation, strict=False)]
    sizes = zip(lhs.shape[1:-1], lhs_dilation, strict=True)
    spread = [(n - 1) * d + 1 for n, d in sizes]  # of the images, with zeros between their pixels
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(spread, reach, strides, padding)
    low = [int(low) for low, _ in padding]
    sums = (precision, preferred_element_type)
    if not dilated:
        pads = tuple((a, int(b)) for a, (_, b) in zip(low, padding, strict=True))
        window = Window(lhs.shape[1:-1], rhs.shape[:-2], strides, pads, rhs_dilation, *sums)
        return convolution_map("output", lhs, rhs, window, y.dtype)
    # Images with zeros between their pixels are what a strided convolution's gradient meets.
    size = y.shape[1:-1]
    pads = tuple(
        (r - 1 - a, m + a - n) for r, a, m, n in zip(reach, low, spread, size, strict=True)
    )
    window = Window(size, rhs.shape[:-2], lhs_dilation, pads, rhs_dilation, *sums)
    flipped = lax.rev(rhs, range(lhs.ndim - 2)).swapaxes(-1, -2)
    return convolution_map("input", lhs, flipped, window, y.dtype)


def conv_transpose(
    lhs: jax.Array,
    rhs: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Transposed convolution as `jax.lax.conv_transpose` does it, without a product with zero.

    `lax.conv_transpose` spreads the images, strides − 1 zeros between two pixels, and convolves.
    On CPU this function sums, for every phase of the output pixels, only what falls on that phase.

    Args:
      lhs: (N, spatial…, C) images.
      rhs: (kernel…, C, O) kernel; (kernel…, O, C) with `transpose_kernel`.
      strides: by how much each spatial dimension grows.
      padding: "SAME", "VALID" or a (low, high) pair of zeros around the spread images per spatial
        dimension.
      rhs_dilation, dimension_numbers, transpose_kernel, precision, preferred_element_type: as for
        `lax.conv_transpose`.

    Returns:
      (N, spatial…, O).

    Raises:
      ValueError: if padding is another word, or as `lax.conv_transpose`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxnoise.models import conv_transpose
      >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((2, 2, 2, 5))
      >>> conv_transpose(images, kernel, (2, 2), "SAME",
      ...                dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
      (1, 8, 8, 5)
    """
    spatial = lhs.ndim - 2
    numbers = dimension_numbers or _DEFAULT_NUMBERS.get(spatial)
    if lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers) != channels_last(spatial):
        return lax.conv_transpose(
            lhs,
            rhs,
            strides,
            padding,
            rhs_dilation,
            dimension_numbers,
            transpose_kernel,
            precision,
            preferred_element_type,
        )
    if isinstance(padding, str):
        dilation = rhs_dilation or (1,) * spatial
        reach = [(k - 1) * d + 1 for k, d in zip(rhs.shape, dilation, strict=False)]
        padding = [_zeros_around(padding, k, s) for k, s in zip(reach, strides, strict=True)]
    if transpose_kernel:
        rhs = lax.rev(rhs, range(spatial)).swapaxes(-1, -2)
    return convolution(
        lhs,
        rhs,
        (1,) * spatial,
        padding,
        strides,
        rhs_dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


_DEFAULT_NUMBERS = {
    1: ("NHC", "HIO", "NHC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NHWDC", "HWDIO", "NHWDC"),
}


def _zeros_around(padding: str, reach: int, stride: int) -> tuple[int, int]:
    """What "SAME" (an output of size n·stride) and "VALID" (every product counts) stand for."""
    if padding == "SAME":
        total = reach + stride - 2
        low = reach - 1 if stride > reach - 1 else -(-total // 2)
    elif padding == "VALID":
        total, low = reach + stride - 2 + max(reach - stride, 0), reach - 1
    else:
        raise ValueError(f"padding must be 'SAME', 'VALID' or pairs, got {padding!r}")
    return low, total - low


def _is_sharded_automatically() -> bool:
    """Whether JAX spreads arrays over devices by itself, if at all: no mesh types them here."""
    return all(kind == AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
