"""The residual network against a slow forward pass in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import ResNet18


def standardized(x, axes):
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def slow_norm(layer, x, norm):
    """Normalisation as PyTorch defines it, its running statistics in the case of "batch"."""
    channels = x.shape[-1]
    if norm == "none":
        return x
    if norm == "batch":
        x = (x - np.asarray(layer.mean[...])) / np.sqrt(np.asarray(layer.var[...]) + 1e-5)
    elif norm == "instance":
        x = standardized(x, (1, 2))
    else:
        groups = math.gcd(channels, 32)
        grouped = x.reshape(*x.shape[:-1], groups, channels // groups)
        x = standardized(grouped, (1, 2, 4)).reshape(x.shape)
    return x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def slow_forward(model, x, norm, conv, dense):
    x = np.maximum(slow_norm(model.stem_norm, conv(model.stem, x), norm), 0)
    for index, block in enumerate(model.blocks):
        stride = 2 if index in (2, 4, 6) else 1
        y = np.maximum(slow_norm(block.norm1, conv(block.conv1, x, stride), norm), 0)
        y = slow_norm(block.norm2, conv(block.conv2, y), norm)
        if stride == 2:
            projection, projection_norm = block.shortcut.layers
            x = slow_norm(projection_norm, conv(projection, x, stride), norm)
        x = np.maximum(x + y, 0)
    return dense(model.readout, x.mean(axis=(1, 2)))


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_forward_pass(norm, slow, scrambled):
    """Maps of 10, 5, 3 and 2 pixels: even and odd ones under stride 2; groups of 3 channels."""
    options = {"num_classes": 4, "in_channels": 2, "width": 3, "norm": norm}
    model = scrambled(lambda: ResNet18(rngs=nnx.Rngs(0), **options))
    model = nnx.view(model, use_running_average=True, raise_if_not_found=False)
    x = np.random.default_rng(1).normal(size=(2, 10, 10, 2))
    scores = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x, jnp.float32))
    expected = slow_forward(model, x, norm, slow.conv, slow.dense)
    assert scores.shape == (2, 4)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def test_batch_norm_in_training_mode(scrambled):
    """It normalises by the batch, and a tenth of the batch's statistics enter the running ones."""
    layer = scrambled(lambda: ResNet18(width=2, rngs=nnx.Rngs(0))).stem_norm
    mean, variance = np.asarray(layer.mean[...]), np.asarray(layer.var[...])
    x = np.random.default_rng(1).normal(2, 3, size=(3, 4, 4, 2))
    expected = standardized(x, (0, 1, 2)) * layer.scale[...] + layer.bias[...]
    np.testing.assert_allclose(layer(jnp.asarray(x, jnp.float32)), expected, rtol=1e-4, atol=1e-5)
    by_channel = x.reshape(-1, 2)
    np.testing.assert_allclose(layer.mean[...], 0.9 * mean + 0.1 * by_channel.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.var[...], 0.9 * variance + 0.1 * by_channel.var(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 11_173_962),
        ({"num_classes": 100}, 11_173_962 + 90 * 513),
        ({"in_channels": 1}, 11_173_962 - 2 * 9 * 64),
        ({"norm": "none"}, 11_173_962 - 9_600),  # two numbers for each of 4,800 channels
    ],
    ids=str,
)
def test_number_of_parameters(options, expected, count_parameters):
    assert count_parameters(lambda: ResNet18(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize("norm", ["layer", None, "Batch"])
def test_unknown_norm_is_refused(norm):
    with pytest.raises(ValueError, match="norm must be 'batch', 'group', 'instance' or 'none'"):
        ResNet18(width=2, norm=norm, rngs=nnx.Rngs(0))


def test_kernels_start_from_he_with_fan_out():
    @jax.jit  # so that only this one kernel is computed
    def kernel():
        return ResNet18(width=32, rngs=nnx.Rngs(0)).blocks[2].conv1.kernel[...]

    assert kernel().shape == (3, 3, 32, 64)
    np.testing.assert_allclose(kernel().var(), 2 / (9 * 64), rtol=0.05)
