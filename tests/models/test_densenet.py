"""The densely connected network against a slow forward pass in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import DenseNet121


class Shallow(DenseNet121):
    """DenseNet121 but for its depth; 3 transitions, from 8, 6 and 5 channels."""

    layers = (2, 1, 1, 1)


def activate(layer, x):
    """Batch normalisation by its running statistics, and ReLU."""
    x = (x - np.asarray(layer.mean[...])) / np.sqrt(np.asarray(layer.var[...]) + 1e-5)
    return np.maximum(x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...]), 0)


def slow_average(x):
    """The mean of each 2×2 block; an odd last row or column is dropped."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    y = np.zeros((len(x), rows, columns, x.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        y[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2))
    return y


def slow_forward(model, x, slow):
    x, blocks = slow.conv(model.stem, x), iter(model.blocks)
    for index, layers in enumerate(model.layers):
        if index > 0:
            transition = next(blocks)
            x = slow_average(slow.conv(transition.conv, activate(transition.norm, x)))
        for _ in range(layers):
            block = next(blocks)
            y = slow.conv(block.conv1, activate(block.norm1, x))
            y = slow.conv(block.conv2, activate(block.norm2, y))
            x = np.concatenate([x, y], axis=-1)
    assert not list(blocks)
    return slow.dense(model.readout, activate(model.norm, x).mean(axis=(1, 2)))


@pytest.mark.parametrize(
    "model_class", [Shallow, pytest.param(DenseNet121, marks=pytest.mark.slow)]
)
def test_forward_pass(model_class, slow, scrambled):
    """Maps of 10, 5, 2 and 1 pixels: even and odd ones are halved."""
    options = {"growth": 2, "num_classes": 4, "in_channels": 2}
    model = scrambled(lambda: model_class(rngs=nnx.Rngs(0), **options))
    model = nnx.view(model, use_running_average=True)
    x = np.random.default_rng(1).normal(size=(2, 10, 10, 2))
    scores = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x, jnp.float32))
    expected = slow_forward(model, x, slow)
    assert scores.shape == (2, 4)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 6_956_298), ({"num_classes": 100, "in_channels": 1}, 6_956_298 + 90 * 1_025 - 18 * 64)],
    ids=str,
)
def test_number_of_parameters(options, expected, count_parameters):
    assert count_parameters(lambda: DenseNet121(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize("growth", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_number_of_parameters_layer_by_layer(growth, count_parameters):
    channels = 2 * growth
    total = 27 * channels
    for index, layers in enumerate((6, 12, 24, 16)):
        if index > 0:
            total += 2 * channels + channels * (channels // 2)
            channels //= 2
        for _ in range(layers):
            total += 2 * channels + 4 * growth * channels + 8 * growth + 36 * growth**2
            channels += growth
    total += 2 * channels + (channels + 1) * 10
    assert count_parameters(lambda: DenseNet121(growth=growth, rngs=nnx.Rngs(0))) == total


def test_kernels_start_from_he_with_fan_in():
    @jax.jit  # so that only this one kernel is computed
    def kernel():
        return Shallow(growth=32, rngs=nnx.Rngs(0)).blocks[0].conv2.kernel[...]

    assert kernel().shape == (3, 3, 128, 32)
    np.testing.assert_allclose(kernel().var(), 2 / (9 * 128), rtol=0.05)


@pytest.mark.parametrize("norm", ["layer", None])
def test_unknown_norm_is_refused(norm):
    with pytest.raises(ValueError, match="norm must be 'batch'"):
        Shallow(growth=1, norm=norm, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 3), "got shape"),
        ((2, 8, 8, 1), "got shape"),
        ((2, 8, 7, 3), "with sides that are at least 8 pixels"),
        ((2, 7, 8, 3), "with sides that are at least 8 pixels"),
    ],
)
def test_what_is_no_batch_of_images_of_8_pixels_is_refused(shape, message):
    model = nnx.eval_shape(lambda: Shallow(growth=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=rf"x must be images \(B, H, W, 3\),? {message}"):
        model(jnp.zeros(shape))
