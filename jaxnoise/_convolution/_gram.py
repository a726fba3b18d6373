"""Products of the patches that a kernel meets, without the patches.

Of images X and Y, the patches P(s) and Q(t) at positions s and t have the product

    ⟨P(s), Q(t)⟩ = Σ_o ⟨X(s·stride + o), Y(t·stride + o)⟩,   o: the kernel's entries,

a sum along a diagonal of the products of pixels. A kernel is a box, so that one axis of it is
summed after another, and a pixel has many times fewer numbers than a patch.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from ._window import Window

# Adding or multiplying two numbers costs about as much as so many multiplications do inside a
# matrix product.
_NUMBER = 20


def patch_products(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """(B, N·positions, N·positions) for B examples of N images each, x and y (B, N, …, C)."""
    batch, images, *size, channels = x.shape
    x, y = x.reshape(batch, -1, channels), y.reshape(batch, -1, channels)
    products = jnp.matmul(x, y.swapaxes(1, 2), precision="highest")
    products = products.reshape(batch, images, *size, images, *size)
    for axis in range(len(size)):
        products = _diagonal_sums(products, axis, window)
    count = images * window.num_positions
    return products.reshape(batch, count, count)


def work_of_patch_products(window: Window, images: int, channels: int) -> int:
    """About as many multiplications inside a matrix product as the above costs per example."""
    work = (images * math.prod(window.size)) ** 2 * channels
    sizes = list(window.size)
    for axis, count in enumerate(window.positions):
        sizes[axis] = count
        if window.kernel[axis] > 1:
            work += _NUMBER * window.kernel[axis] * (images * math.prod(sizes)) ** 2
    return work


def _diagonal_sums(products: jax.Array, axis: int, window: Window) -> jax.Array:
    """Sums over the kernel's entries along one axis, for pairs of positions along it."""
    axes = 2 + axis, 3 + len(window.size) + axis
    margins = [(0, 0, 0)] * products.ndim
    for i in axes:
        margins[i] = (*window.padding[axis], 0)
    products = lax.pad(products, jnp.zeros((), products.dtype), margins)
    stride, span = window.strides[axis], (window.positions[axis] - 1) * window.strides[axis] + 1
    shifted = []
    for start in range(0, window.reach[axis], window.dilation[axis]):
        part = products
        for i in axes:
            part = lax.slice_in_dim(part, start, start + span, stride, axis=i)
        shifted.append(part)
    return sum(shifted[1:], shifted[0])
