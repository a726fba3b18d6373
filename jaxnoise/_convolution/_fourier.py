"""Convolutions by Fourier transforms: a product per frequency instead of sums over the kernel.

Along each axis positions are taken modulo L = n + max(low, high), so that a kernel that reaches
beyond an image of n pixels meets as many zeros. Images x at i, a kernel k at o and outputs y at t,
counted from −low, belong together where i = t + o. With X(f) = Σᵢ x(i) exp(−2πi f·i/L), and K and Y
likewise,

    Σ y(t) x(t + o) k(o) = Σ Re[X(f) K̄(f) Ȳ(f)] / Πⱼ Lⱼ,
    Re[X K̄ Ȳ] = (Xᵣ)(Kᵣ)(Yᵣ−Yᵢ) + (Xᵢ)(Kᵢ)(Yᵣ+Yᵢ) + (Xᵣ+Xᵢ)(Kᵣ−Kᵢ)(Yᵢ),

where the sum over t and o is over all examples and channels, too, and the frequencies of the first
axis stop at ½: the others are conjugates, so that those between 0 and ½ count twice. Each array
has three real factors per frequency, and is the derivative of the sum by itself: matrix products
of the two others' factors, taken back by its own transform, transposed. Rounding errors are like
those of direct sums, but spread over an example's map, as entries that are not finite do.

Mathieu, Henaff, LeCun, "Fast Training of Convolutional Networks through FFTs", 2014. On maps as
small as these, transforms are fastest as matrix products, one axis after another.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._window import Array, Window

# The factors as sums of real and imaginary parts.
_FACTORS = {
    "input": [[1, 0], [0, 1], [1, 1]],
    "kernel": [[1, 0], [0, 1], [1, -1]],
    "output": [[1, -1], [1, 1], [0, 1]],
}
# So many times fewer products than direct sums it must take (times measured are as the products),
# with factors of up to so many times the arrays' memory.
_GAIN, _MEMORY = 1.5, 8


def suits(window: Window, dtype: jnp.dtype, examples: int, channels: int, features: int) -> bool:
    """Whether the transforms and the products of factors are much less work than direct sums."""
    if not window.is_dense or dtype not in (jnp.float32, jnp.float64):
        return False
    counts = _counts(examples, channels, features)
    sizes = {array: math.prod(shape) for array, shape in _sizes(window).items()}
    direct = sizes["output"] * sizes["kernel"] * examples * channels * features
    memory = sum(sizes[array] * count for array, count in counts.items())
    factors = _num_factors(window) * sum(counts.values())
    work = _work(window, examples, channels, features)
    return _GAIN * work <= direct and factors <= _MEMORY * memory


def output(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Outputs (N, …, O) of images (N, …, C) and a kernel (…, C, O).

    Outputs that see nothing but zeros are zeros, without rounding errors: the kinks of activations
    stay where they are.
    """
    images, kernels = _factors(x, "input", window), _factors(kernel, "kernel", window)
    y = _array(jnp.matmul(images, kernels, precision=window.precision), "output", window)
    return jnp.where(_sees_something(x, window), y, 0)


def input(y: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Images (N, …, C) that outputs (N, …, O) and a kernel (…, C, O) give."""
    kernels = _factors(kernel.swapaxes(-1, -2), "kernel", window)
    images = jnp.matmul(_factors(y, "output", window), kernels, precision=window.precision)
    return _array(images, "input", window)


def kernel(x: jax.Array, y: jax.Array, window: Window) -> jax.Array:
    """Kernel (…, C, O) that images (N, …, C) and outputs (N, …, O) give."""
    images, outputs = _factors(x, "input", window), _factors(y, "output", window)
    kernels = jnp.matmul(images.swapaxes(1, 2), outputs, precision=window.precision)
    return _array(kernels, "kernel", window)


def _factors(a: jax.Array, array: Array, window: Window) -> jax.Array:
    """(3·frequencies, N, C), or (3·frequencies, C, O) of a kernel."""
    if array != "kernel":
        a = jnp.moveaxis(a, 0, -2)
    frequencies, rows = 1, a.shape[-2:]
    for matrix in _transforms(array, window):
        f, parts, *columns = matrix.shape
        matrix = matrix.reshape(f * parts, -1)
        a = _matmuls(matrix, a.reshape(frequencies, math.prod(columns), -1), window)
        frequencies *= f
    return a.reshape(-1, *rows)


def _array(factors: jax.Array, array: Array, window: Window) -> jax.Array:
    """The array that the transposed transforms make of factors."""
    frequencies, rows = factors.shape[0] // 3, factors.shape[1:]
    a, sizes = factors, []
    for matrix in reversed(_transforms(array, window)):
        f, parts, *columns = matrix.shape
        frequencies //= f
        sizes.insert(0, columns[-1])
        matrix = matrix.reshape(f * parts, -1).T
        a = _matmuls(matrix, a.reshape(frequencies, f * parts, -1), window)
    a = a.reshape(*sizes, *rows)
    return a if array == "kernel" else jnp.moveaxis(a, -2, 0)


def _transforms(array: Array, window: Window) -> list[np.ndarray]:
    """Matrices (frequencies, parts, parts before, positions), one per axis.

    Parts are real and imaginary ones, but before the first axis real alone, after the last factors.
    """
    matrices = []
    for axis, (frequencies, _, before, positions) in enumerate(_shapes(array, window)):
        length, f = _length(window, axis), np.arange(frequencies)
        at = np.arange(positions)
        if array == "kernel":
            at *= window.dilation[axis]
        if array == "output":
            at -= window.padding[axis][0]
        angles = 2 * np.pi / length * (np.outer(f, at) % length)
        real, imaginary = np.cos(angles), -np.sin(angles)
        matrix = np.array([[real, -imaginary], [imaginary, real]])[:, :before]
        if array == "output":
            counts_twice = (axis == 0) & (f > 0) & (2 * f < length)
            matrix *= np.where(counts_twice, 2, 1)[:, None] / length
        if axis == len(window.size) - 1:
            matrix = np.tensordot(_FACTORS[array], matrix, 1)
        matrices.append(np.moveaxis(matrix, 2, 0))
    return matrices


def _shapes(array: Array, window: Window) -> list[tuple[int, int, int, int]]:
    """The shapes of the transforms' matrices."""
    shapes = []
    for axis, positions in enumerate(_sizes(window)[array]):
        length, is_last = _length(window, axis), axis == len(window.size) - 1
        before, after = 2 if axis else 1, 3 if is_last else 2
        shapes.append((length if axis else length // 2 + 1, after, before, positions))
    return shapes


def _work(window: Window, examples: int, channels: int, features: int) -> int:
    """Products of numbers that the transforms and the products of the factors take."""
    work = _num_factors(window) * examples * channels * features
    for array, count in _counts(examples, channels, features).items():
        frequencies, shapes = 1, _shapes(array, window)
        for axis, (f, after, before, _) in enumerate(shapes):
            frequencies *= f
            columns = before * math.prod(n for *_, n in shapes[axis:])
            work += count * frequencies * after * columns
    return work


def _counts(examples: int, channels: int, features: int) -> dict[Array, int]:
    """How many maps each array has."""
    return {
        "input": examples * channels,
        "kernel": channels * features,
        "output": examples * features,
    }


def _num_factors(window: Window) -> int:
    return 3 * math.prod(f for f, *_ in _shapes("kernel", window))


def _sizes(window: Window) -> dict[Array, tuple[int, ...]]:
    return {"input": window.size, "kernel": window.kernel, "output": window.positions}


def _length(window: Window, axis: int) -> int:
    return window.size[axis] + max(0, *window.padding[axis])


def _matmuls(matrix: np.ndarray, a: jax.Array, window: Window) -> jax.Array:
    """The products of a matrix (M, K) and every one of (frequencies, K, …)."""
    b = jnp.broadcast_to(jnp.asarray(matrix, a.dtype), (a.shape[0], *matrix.shape))
    return jnp.matmul(b, a, precision=window.precision)


def _sees_something(x: jax.Array, window: Window) -> jax.Array:
    """(N, positions…, 1): whether any entry is not zero where the kernel meets the images."""
    return lax.reduce_window(
        jnp.any(x != 0, axis=-1, keepdims=True),
        False,
        lax.bitwise_or,
        (1, *window.kernel, 1),
        (1,) * x.ndim,
        ((0, 0), *window.padding, (0, 0)),
        window_dilation=(1, *window.dilation, 1),
    )
