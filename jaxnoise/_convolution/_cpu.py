"""The three maps in the forms that XLA:CPU runs fast, inside loops as outside.

XLA's CPU backend is fast at matrix products everywhere, and at convolutions only in the layout of a
forward pass with large maps; gradients in their own layouts run 10–70 times slower in loops. So
every map is either a matrix product over patches, a convolution in the forward layout, of several
neighbours at once where channels are few, Winograd's algorithm, for dense 3×3 kernels with many
channels, or products of Fourier transforms, for larger ones: all but the second are matrix
products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from .._tree import common_dtype
from . import _fourier, _neighbours, _winograd, _xla
from ._interleave import interleave
from ._patches import padded, patches
from ._window import Window

# Where a matrix product over patches beats the other ways: on maps of up to so many positions, with
# up to so many rows, or where the patches take up to so many times the images' memory.
_SMALL_MAP, _FEW_ROWS, _FEW_PATCHES = 16, 256, 4
# From so many channels on, a 2-D kernel is faster computed as 1-D ones.
_MANY_CHANNELS = 32


def output(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Outputs (N, …, O) of images (N, …, C) and a kernel (…, C, O)."""
    if _suits_patches(window, x.shape[0]):
        y = _matmul(patches(x, window), kernel.reshape(-1, kernel.shape[-1]), window)
        return y.reshape(x.shape[0], *window.positions, kernel.shape[-1])
    if _winograd.suits("output", window, x.dtype, *kernel.shape[-2:]):
        return _winograd.output(x, kernel, window)
    if _fourier.suits(window, x.dtype, x.shape[0], *kernel.shape[-2:]):
        return _fourier.output(x, kernel, window)
    if window.is_dense and len(window.size) > 2:
        return _output_of_slices(x, kernel, window)
    if _neighbours.suits(window, x.dtype, *kernel.shape[-2:]):
        return _neighbours.output(x, kernel, window)
    return _xla.output(x, kernel, window)


def input(y: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Images (N, …, C) that outputs (N, …, O) and a kernel (…, C, O) give."""
    if not window.is_dense or _suits_patches(window, y.shape[0]):
        columns = _matmul(
            y.reshape(-1, y.shape[-1]), kernel.reshape(-1, kernel.shape[-1]).T, window
        )
        return _sum_patches(columns.reshape(*y.shape[:-1], -1), window)
    if _winograd.suits("input", window, y.dtype, *kernel.shape[-2:]):
        return _winograd.input(y, kernel, window)
    if _fourier.suits(window, y.dtype, y.shape[0], *kernel.shape[-2:]):
        return _fourier.input(y, kernel, window)
    flipped = jnp.flip(kernel, range(len(window.kernel))).swapaxes(-1, -2)
    return output(y, flipped, window.adjoint())


def kernel(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """Kernel (…, C, O) that images (N, …, C) and outputs (N, …, O) give."""
    few_rows = x.shape[0] * window.num_positions < _FEW_ROWS // 2
    if not few_rows and _winograd.suits("kernel", window, x.dtype, x.shape[-1], y.shape[-1]):
        return _winograd.kernel(x, y, window)
    if not window.is_dense or _suits_patches(window, x.shape[0]):
        k = _matmul(patches(x, window).T, y.reshape(-1, y.shape[-1]), window)
        return k.reshape(*window.kernel, x.shape[-1], y.shape[-1])
    if _fourier.suits(window, x.dtype, x.shape[0], x.shape[-1], y.shape[-1]):
        return _fourier.kernel(x, y, window)
    if len(window.size) > 2 or (len(window.size) == 2 and x.shape[-1] >= _MANY_CHANNELS):
        return _kernel_of_slices(x, y, window)
    return _forward_kernel(x, y, window)


def operand_dtype(given: jnp.dtype, window: Window) -> jnp.dtype:
    """The dtype that operands are cast to: that of the sums where it is the wider."""
    return given if window.accumulation is None else common_dtype(given, window.accumulation)


def each(one: Callable, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps for each of a group of operands, one after another.

    Under `vmap` XLA's convolutions would become grouped ones, which are slow.
    """
    return lax.map(lambda operands: one(*operands), (a, b))


def _suits_patches(window: Window, examples: int) -> bool:
    positions = window.num_positions
    return (
        positions <= _SMALL_MAP
        or examples * positions < _FEW_ROWS
        or positions * window.num_offsets <= _FEW_PATCHES * math.prod(window.size)
    )


def _output_of_slices(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Every slice along the first axis by all of the kernel's slices, then sums of shifted results.

    XLA's convolutions of one dimension less, with more features, are several times faster.
    """
    (offsets, *_), (step, *_), (positions, *_) = window.kernel, window.dilation, window.positions
    x = padded(x, window.padding[:1])
    stacked = jnp.moveaxis(kernel, 0, -2)
    stacked = stacked.reshape(*stacked.shape[:-2], -1)
    y = output(x.reshape(-1, *x.shape[2:]), stacked, window.without_first_axis())
    y = y.reshape(*x.shape[:2], *y.shape[1:-1], offsets, -1)
    shifted = [
        lax.slice_in_dim(y[..., i, :], i * step, i * step + positions, axis=1)
        for i in range(offsets)
    ]
    return sum(shifted[1:], shifted[0])


def _kernel_of_slices(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """The kernel's slices along the first axis as more channels, or features, in the other axes.

    Slices of the images are shifted where these have few channels, else those of the outputs. The
    images are turned before they are shifted, which costs a copy each, not a transposition.
    """
    (size, *_), (offsets, *_), (step, *_) = window.size, window.kernel, window.dilation
    (positions, *_), ((low, _), *_) = window.positions, window.padding
    channels, features = x.shape[-1], y.shape[-1]
    rest, axes = window.without_first_axis(), range(2, len(window.size) + 1)
    starts, shift_images = [i * step for i in range(offsets)], channels < min(16, features + 1)
    if shift_images:
        x = padded(x, window.padding[:1])
    else:
        y = padded(y, [(starts[-1] - low, size + low - positions)])
    x = lax.optimization_barrier(x.transpose(-1, *axes, 0, 1))
    y = y.transpose(*axes, 0, 1, -1)
    if shift_images:
        x = jnp.concatenate([lax.slice_in_dim(x, i, i + positions, axis=-1) for i in starts])
    else:
        shifted = [lax.slice_in_dim(y, i, i + size, axis=-2) for i in reversed(starts)]
        y = jnp.concatenate(shifted, axis=-1)
    k = _xla.output(
        lax.collapse(x, x.ndim - 2), lax.collapse(y, y.ndim - 3, y.ndim - 1), _turned(rest)
    )
    spatial = k.shape[1:-1]
    if shift_images:
        return jnp.moveaxis(k.reshape(offsets, channels, *spatial, features), 1, -2)
    return jnp.moveaxis(k.reshape(channels, *spatial, offsets, features), (0, -2), (-2, 0))


def _forward_kernel(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """A forward convolution with channels for examples and examples for channels."""
    axes = range(1, len(window.size) + 1)
    k = _xla.output(x.transpose(-1, *axes, 0), y.transpose(*axes, 0, -1), _turned(window))
    return k.transpose(*axes, 0, -1)


def _turned(window: Window) -> Window:
    """The window by which the outputs, as a kernel, take the images to the kernel."""
    sizes = zip(window.size, window.reach, window.positions, window.padding, strict=True)
    return window._replace(
        kernel=window.positions,
        strides=window.dilation,
        padding=tuple((low, k - 1 + t - n - low) for n, k, t, (low, _) in sizes),
        dilation=window.strides,
    )


def _matmul(a: jax.Array, b: jax.Array, window: Window) -> jax.Array:
    return jnp.matmul(a, b, precision=window.precision)


def _sum_patches(patches: jax.Array, window: Window) -> jax.Array:
    """Images (N, …, C) whose pixels are the sums of what patches (N, positions…, offsets·C) say.

    Offset o of position t falls on pixel t·stride + o·dilation − low: on every stride-th pixel from
    a first one, the offset's phase. The phases are summed apart and then interleaved.
    """
    columns = jnp.split(patches, window.num_offsets, axis=-1)
    shape = [-(-n // s) for n, s in zip(window.size, window.strides, strict=True)]
    sums: dict[tuple[int, ...], jax.Array] = {}
    for offset, column in zip(window.offsets(), columns, strict=True):
        pixel = [
            o * d - low
            for o, d, (low, _) in zip(offset, window.dilation, window.padding, strict=True)
        ]
        phase = tuple(p % s for p, s in zip(pixel, window.strides, strict=True))
        low = [p // s for p, s in zip(pixel, window.strides, strict=True)]
        high = [m - t - a for m, t, a in zip(shape, window.positions, low, strict=True)]
        moved = padded(column, list(zip(low, high, strict=True)))
        sums[phase] = sums[phase] + moved if phase in sums else moved
    nothing = jnp.zeros_like(next(iter(sums.values())))
    parts = [sums.get(p, nothing) for p in itertools.product(*map(range, window.strides))]
    x = interleave(parts, window.strides)
    return lax.slice(x, [0] * x.ndim, (x.shape[0], *window.size, x.shape[-1]))
