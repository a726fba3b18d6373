"""Slow, obvious networks in NumPy, for the models to be held against."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx


def slow_conv(layer, x, stride=1, padding=None, mode="constant"):
    """`padding`, or kernel//2, pixels on every side, as `torch.nn.Conv2d` or `Conv3d`."""
    kernel = np.asarray(layer.kernel[...], np.float64)
    sizes = kernel.shape[:-2]
    margins = [size // 2 if padding is None else padding for size in sizes]
    padded = np.pad(x, [(0, 0), *[(margin, margin) for margin in margins], (0, 0)], mode)
    y = slide(padded, kernel, stride)
    return y if layer.bias is None else y + np.asarray(layer.bias[...])


def slow_double(layer, x):
    """Every pixel adds its multiple of the mirrored kernel to the pixels around it."""
    kernel = np.asarray(layer.kernel[...], np.float64)
    axes = range(1, x.ndim - 1)
    for axis in axes:  # zeros between the pixels
        x = np.insert(x, range(1, x.shape[axis]), 0, axis=axis)
    low = [size // 2 for size in kernel.shape[:-2]]
    high = [(size + 1) // 2 for size in kernel.shape[:-2]]
    x = np.pad(x, [(0, 0), *zip(low, high, strict=True), (0, 0)])
    y = slide(x, kernel)
    return y if layer.bias is None else y + np.asarray(layer.bias[...])


def slide(padded, kernel, stride=1):
    """The sum of products of the kernel and the window under it, at each place of the window."""
    sizes = kernel.shape[:-2]
    sides = padded.shape[1:-1]
    grid = [(side - size) // stride + 1 for side, size in zip(sides, sizes, strict=True)]
    y = np.zeros((len(padded), *grid, kernel.shape[-1]))
    for place in np.ndindex(*grid):
        window = [slice(i * stride, i * stride + k) for i, k in zip(place, sizes, strict=True)]
        window = padded[(slice(None), *window)]
        y[(slice(None), *place)] = np.tensordot(window, kernel, axes=kernel.ndim - 1)
    return y


def slow_dense(layer: nnx.Linear, x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


class Slow:
    conv = staticmethod(slow_conv)
    double = staticmethod(slow_double)
    dense = staticmethod(slow_dense)


@pytest.fixture
def slow():
    return Slow


def fill(make, *, seed=0, dtype=None):
    """The model that `make()` gives, with random numbers for all its arrays, so that each matters.

    Nothing is initialised, which would take longer than the tests themselves. NumPy draws in
    double precision, so that the numbers are the same in each `dtype`, up to its rounding; None
    keeps the dtype that the model gives an array.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        values = rng.normal(size=leaf.shape)
        if path[-1] == "var":
            values = np.exp(0.5 * values)
        elif path[-1] == "kernel":
            values *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(values, leaf.dtype if dtype is None else dtype)

    graphdef, state = nnx.split(nnx.eval_shape(make))
    flat = {path: draw(path, leaf) for path, leaf in nnx.to_flat_state(nnx.as_pure(state))}
    return nnx.merge(graphdef, nnx.from_flat_state(flat))


@pytest.fixture
def scrambled():
    return fill


@pytest.fixture
def count_parameters():
    """The number of parameters of the model that `make()` gives, none of which is computed."""

    def count(make):
        params = nnx.state(nnx.eval_shape(make), nnx.Param)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    return count
