"""Winograd's algorithm: a 3×3 convolution with 16 products per 2×2 outputs instead of 36.

In three dimensions it takes 64 products per 2×2×2 outputs instead of 216.

Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2016. Along one axis, two outputs
of four inputs d and three kernel entries g are

    Aᵀ[(G g) ⊙ (Bᵀ d)],    Bᵀd = (d₀−d₂, d₁+d₂, d₂−d₁, d₁−d₃),
                           G g = (g₀, ½(g₀+g₁+g₂), ½(g₀−g₁+g₂), g₂),
                           Aᵀm = (m₀+m₁+m₂, m₁−m₂−m₃).

Nested over the axes and summed over channels, the products are those of 4ᵈ pairs of matrices.
The kernel that images and outputs y give is Gᵀ[(A y) ⊙ (Bᵀ d)]. Rounding errors are those of direct
sums.

Every transform takes the spatial axes in turn and puts the axis of its four results in front. The
transforms of a batch are four or eight times as large as the batch, so that examples are taken in
blocks (see `_blocks`) whose transforms stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from ._blocks import blocks_of, images_in_blocks, outputs_from_blocks, outputs_in_blocks
from ._window import Array, Window

# Below so many channels or features the transforms cost more than the products save. Outputs and
# images in two dimensions, where these save least, have XLA's convolutions to beat.
_MIN_CHANNELS, _MIN_CHANNELS_IN_2D = 32, 64
_BLOCK = 2**20  # entries of a block's transforms, 4 MB in single precision
# A kernel's sums over blocks pay where a block has so many times as many outputs as channels.
_OUTPUTS_PER_CHANNEL = 16


def suits(
    result: Array,
    window: Window,
    dtype: jnp.dtype,
    channels: int,
    features: int,
) -> bool:
    """Whether the convolution is of the kind that Winograd's algorithm makes faster."""
    in_2d = len(window.kernel) == 2 and result != "kernel"
    return (
        window.is_dense
        and len(window.kernel) in (2, 3)
        and all(k == 3 for k in window.kernel)
        and all(d == 1 for d in window.dilation)
        and dtype in (jnp.float32, jnp.float64)
        and min(channels, features) >= (_MIN_CHANNELS_IN_2D if in_2d else _MIN_CHANNELS)
    )


def output(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Outputs (N, …, O) of images (N, …, C) and a kernel (…, C, O)."""
    return _sums(x, _kernels(kernel), window)


def input(y: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Images (N, …, C) that outputs (N, …, O) and a kernel (…, C, O) give."""
    flipped = _kernels(jnp.flip(kernel, range(len(window.kernel))))
    return _sums(y, flipped.swapaxes(1, 2), window.adjoint())


def kernel(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """Kernel (…, C, O) that images (N, …, C) and outputs (N, …, O) give."""
    channels, spatial = max(x.shape[-1], y.shape[-1]), len(window.kernel)
    at_once = _outputs_at_once(channels, spatial)
    if at_once < _OUTPUTS_PER_CHANNEL * channels:
        at_once = x.shape[0] * window.num_positions
    blocks = blocks_of(at_once, x.shape[0], window)

    def add(k: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        images, outputs = _images(block[0], blocks.window), _outputs(block[1], blocks.window)
        products = jnp.matmul(images.swapaxes(1, 2), outputs, precision=window.precision)
        return k + products, None

    nothing = jnp.zeros((4**spatial, x.shape[-1], y.shape[-1]), x.dtype)
    k, _ = lax.scan(add, nothing, (images_in_blocks(x, blocks), outputs_in_blocks(y, blocks)))
    k = k.reshape(*(4,) * spatial, *k.shape[1:])
    for _ in range(spatial):
        both, difference = 0.5 * (k[1] + k[2]), 0.5 * (k[1] - k[2])
        k = jnp.stack([k[0] + both, difference, both + k[3]], axis=spatial - 1)
    return k


def _sums(x: jax.Array, kernels: jax.Array, window: Window) -> jax.Array:
    """The outputs of images and of kernels (4ᵈ, C, O) that `_kernels` gave."""
    at_once = _outputs_at_once(max(kernels.shape[1:]), len(window.kernel))
    blocks = blocks_of(at_once, x.shape[0], window)
    tiles, features = _tiles(blocks.window), kernels.shape[-1]

    def outputs(x: jax.Array) -> jax.Array:
        y = jnp.matmul(_images(x, blocks.window), kernels, precision=window.precision)
        y = y.reshape(*(4,) * len(tiles), x.shape[0], *tiles, features)
        for axis in range(-1 - len(tiles), -1):
            pixels = jnp.stack([y[0] + y[1] + y[2], y[1] - y[2] - y[3]], axis=axis)
            y = lax.collapse(pixels, pixels.ndim + axis - 1, pixels.ndim + axis + 1)
        return lax.slice(y, [0] * y.ndim, (x.shape[0], *blocks.window.positions, features))

    y = lax.map(outputs, images_in_blocks(x, blocks))
    return outputs_from_blocks(y, x.shape[0], blocks)


def _outputs_at_once(channels: int, spatial: int) -> int:
    """How many outputs have transforms that stay in the cache."""
    return max(1, (_BLOCK // channels) >> spatial)


def _images(x: jax.Array, window: Window) -> jax.Array:
    """(4ᵈ, N·tiles, C): Bᵀd for the inputs d of every tile, two of which are the next tile's."""
    tiles = _tiles(window)
    low = [low for low, _ in window.padding]
    high = [2 * (t + 1) - n - a for n, t, a in zip(window.size, tiles, low, strict=True)]
    x = _pad(x, low, high)
    for axis, count in zip(range(-2, -2 - len(tiles), -1), reversed(tiles), strict=True):
        even, odd = _pairs(x, axis)
        d0, d1 = (lax.slice_in_dim(p, 0, count, axis=axis) for p in (even, odd))
        d2, d3 = (lax.slice_in_dim(p, 1, count + 1, axis=axis) for p in (even, odd))
        x = jnp.stack([d0 - d2, d1 + d2, d2 - d1, d1 - d3])
    return x.reshape(4 ** len(tiles), -1, x.shape[-1])


def _outputs(y: jax.Array, window: Window) -> jax.Array:
    """(4ᵈ, N·tiles, O): A y for the outputs y of every tile."""
    tiles = _tiles(window)
    y = _pad(y, [0] * len(tiles), [2 * t - p for t, p in zip(tiles, window.positions, strict=True)])
    for axis in range(-2, -2 - len(tiles), -1):
        even, odd = _pairs(y, axis)
        y = jnp.stack([even, even + odd, even - odd, -odd])
    return y.reshape(4 ** len(tiles), -1, y.shape[-1])


def _kernels(k: jax.Array) -> jax.Array:
    """(4ᵈ, C, O): G g for the entries g of a kernel."""
    spatial = k.ndim - 2
    for _ in range(spatial):
        g = [lax.index_in_dim(k, i, -3, keepdims=False) for i in range(3)]
        even, odd = 0.5 * (g[0] + g[2]), 0.5 * g[1]
        k = jnp.stack([g[0], even + odd, even - odd, g[2]])
    return k.reshape(4**spatial, *k.shape[-2:])


def _tiles(window: Window) -> list[int]:
    return [-(-t // 2) for t in window.positions]


def _pairs(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The even and the odd entries along an axis of even size, counted from the end."""
    axis += x.ndim
    pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
    even, odd = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))
    return even, odd


def _pad(x: jax.Array, low: Sequence[int], high: Sequence[int]) -> jax.Array:
    margins = [(a, b, 0) for a, b in zip(low, high, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *margins, (0, 0, 0)))
