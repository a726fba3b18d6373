"""Slow, obvious networks in NumPy, for the models to be held against."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx


def slow_conv(layer: nnx.Conv, x: np.ndarray, stride: int = 1) -> np.ndarray:
    """kernel//2 zeros on every side, as `torch.nn.Conv2d(padding=kernel//2)`."""
    kernel = np.asarray(layer.kernel[...], np.float64)
    height, width = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, [(0, 0), (height, height), (width, width), (0, 0)])
    rows = (padded.shape[1] - kernel.shape[0]) // stride + 1
    columns = (padded.shape[2] - kernel.shape[1]) // stride + 1
    y = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        window = padded[
            :,
            i * stride : i * stride + kernel.shape[0],
            j * stride : j * stride + kernel.shape[1],
        ]
        y[:, i, j] = np.tensordot(window, kernel, axes=3)
    return y if layer.bias is None else y + np.asarray(layer.bias[...])


def slow_dense(layer: nnx.Linear, x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


class Slow:
    conv = staticmethod(slow_conv)
    dense = staticmethod(slow_dense)


@pytest.fixture
def slow():
    return Slow


@pytest.fixture
def scrambled():
    """The model that `make()` gives, with random numbers for all its arrays, so that each matters.

    Nothing is initialised, which would take longer than the tests themselves.
    """

    def fill(make):
        rng = np.random.default_rng(0)

        def draw(path, leaf):
            values = rng.normal(size=leaf.shape)
            if path[-1] == "var":
                values = np.exp(0.5 * values)
            elif path[-1] == "kernel":
                values *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return jnp.asarray(values, leaf.dtype)

        graphdef, state = nnx.split(nnx.eval_shape(make))
        flat = {path: draw(path, leaf) for path, leaf in nnx.to_flat_state(nnx.as_pure(state))}
        return nnx.merge(graphdef, nnx.from_flat_state(flat))

    return fill


@pytest.fixture
def count_parameters():
    """The number of parameters of the model that `make()` gives, none of which is computed."""

    def count(make):
        params = nnx.state(nnx.eval_shape(make), nnx.Param)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    return count
