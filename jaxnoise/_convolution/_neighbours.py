"""Convolutions with few channels and features: neighbouring outputs as more features.

XLA:CPU is slow at convolutions in which channels and features are both few; what stands below is
2 to 5 times faster. The p outputs that are neighbours along the last axis, positions t·p + q with
0 ≤ q < p, are taken for p·O features of one position: the window moves by p and is p − 1 wider, and
the kernel of output q is the given one, moved by q, between zeros. That makes (k + p − 1) / k times
as many products for a kernel k wide, and no copy of images or outputs where p divides the width.

Outputs are direct sums, with zeros among their terms: an entry that is not finite makes those of
all p outputs of a window NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from . import _xla
from ._window import Window

# XLA is fast from so many channels on, or with so many features, which at most so many neighbours
# are to make.
_CHANNELS, _FEATURES, _NEIGHBOURS = 24, 32, 16


def suits(window: Window, dtype: jnp.dtype, channels: int, features: int) -> bool:
    """Whether channels and features are so few that XLA's convolution is slow."""
    return (
        window.is_dense
        and window.kernel[-1] > 2
        and window.dilation[-1] == 1
        and jnp.issubdtype(dtype, jnp.floating)
        and channels < _CHANNELS
        and _num_neighbours(features) > 1
    )


def output(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Outputs (N, …, O) of images (N, …, C) and a kernel (…, C, O)."""
    *shape, width = window.positions
    features = kernel.shape[-1]
    p = _num_neighbours(features)
    surplus = -width % p
    *padding, (low, high) = window.padding
    wide = window._replace(
        kernel=(*window.kernel[:-1], window.kernel[-1] + p - 1),
        strides=(*window.strides[:-1], p),
        padding=(*padding, (low, high + surplus)),
    )
    y = _xla.output(x, _side_by_side(kernel, p), wide)
    y = y.reshape(x.shape[0], *shape, width + surplus, features)
    return lax.slice_in_dim(y, 0, width, axis=-2)


def _side_by_side(kernel: jax.Array, p: int) -> jax.Array:
    """The kernel (…, k + p − 1, C, p·O) of p neighbours."""
    nothing, before = jnp.zeros((), kernel.dtype), [(0, 0, 0)] * (kernel.ndim - 3)
    moved = [
        lax.pad(kernel, nothing, [*before, (q, p - 1 - q, 0), (0, 0, 0), (0, 0, 0)])
        for q in range(p)
    ]
    return jnp.concatenate(moved, axis=-1)


def _num_neighbours(features: int) -> int:
    """The largest power of two by which features stay within the limit."""
    return min(_NEIGHBOURS, 1 << (max(1, _FEATURES // features).bit_length() - 1))
