"""The three maps as XLA's own convolutions, for GPU and TPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from ._window import Window


def output(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Outputs (N, …, O) of images (N, …, C) and a kernel (…, C, O)."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=channels_last(x.ndim - 2),
        precision=window.precision,
        preferred_element_type=window.accumulation,
    )


def input(y: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Images (N, …, C) that outputs (N, …, O) and a kernel (…, C, O) give."""
    x = jax.ShapeDtypeStruct((y.shape[0], *window.size, kernel.shape[-2]), y.dtype)
    window = window._replace(accumulation=None)
    return jax.linear_transpose(lambda x: output(x, kernel, window), x)(y)[0]


def kernel(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """Kernel (…, C, O) that images (N, …, C) and outputs (N, …, O) give."""
    k = jax.ShapeDtypeStruct((*window.kernel, x.shape[-1], y.shape[-1]), x.dtype)
    window = window._replace(accumulation=None)
    return jax.linear_transpose(lambda k: output(x, k, window), k)(y)[0]


def operand_dtype(given: jnp.dtype, window: Window) -> jnp.dtype:
    """The dtype that operands are cast to: XLA widens sums by itself."""
    del window
    return given


def each(one: Callable, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps for each of a group of operands."""
    return jax.vmap(one)(a, b)


@functools.cache
def channels_last(spatial: int) -> lax.ConvDimensionNumbers:
    """Images and outputs (N, …, C), kernels (…, C, O)."""
    last = spatial + 1
    axes = tuple(range(1, last))
    return lax.ConvDimensionNumbers(
        (0, last, *axes), (last, spatial, *range(spatial)), (0, last, *axes)
    )
