"""The wide residual network against a slow forward pass in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import WideResNet


def activate(layer, x):
    """Batch normalisation by its running statistics, and ReLU."""
    x = (x - np.asarray(layer.mean[...])) / np.sqrt(np.asarray(layer.var[...]) + 1e-5)
    return np.maximum(x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...]), 0)


def slow_forward(model, x, strides, slow):
    x = slow.conv(model.stem, x)
    for block, stride in zip(model.blocks, strides, strict=True):
        activated = activate(block.norm1, x)
        y = slow.conv(block.conv1, activated, stride)
        y = slow.conv(block.conv2, activate(block.norm2, y))
        changed = x.shape != y.shape
        x = y + (slow.conv(block.shortcut, activated, stride) if changed else x)
    return slow.dense(model.readout, activate(model.norm, x).mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("depth", "width", "strides"),
    [
        (10, 1, (1, 2, 2)),
        pytest.param(16, 2, (1, 1, 2, 1, 2, 1), marks=pytest.mark.slow),
    ],
)
def test_forward_pass(depth, width, strides, slow, scrambled):
    """Maps of 6, 3 and 2 pixels. WRN-10-1's first block keeps the shape, WRN-16-2's changes it."""
    options = {"depth": depth, "width": width, "num_classes": 4, "in_channels": 2}
    model = scrambled(lambda: WideResNet(rngs=nnx.Rngs(0), **options))
    model = nnx.view(model, use_running_average=True)
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 2))
    scores = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x, jnp.float32))
    expected = slow_forward(model, x, strides, slow)
    assert scores.shape == (2, 4)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_classes": 100}, 36_536_884),
        ({}, 36_479_194),
        ({"in_channels": 1}, 36_479_194 - 2 * 9 * 16),
        ({"norm": "none"}, 36_479_194 - 2 * (16 + 8 * 160 + 8 * 320 + 8 * 640)),
    ],
    ids=str,
)
def test_number_of_parameters(options, expected, count_parameters):
    assert count_parameters(lambda: WideResNet(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 4), (40, 2)])
def test_number_of_parameters_layer_by_layer(depth, width, count_parameters):
    total, inputs = 27 * 16, 16
    for outputs in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs**2
            total += inputs * outputs if inputs != outputs else 0
            inputs = outputs
    total += 2 * inputs + (inputs + 1) * 10
    assert count_parameters(lambda: WideResNet(depth=depth, width=width, rngs=nnx.Rngs(0))) == total


def test_kernels_start_from_he_with_fan_out():
    @jax.jit  # so that only this one kernel is computed
    def kernel():
        return WideResNet(depth=10, width=4, rngs=nnx.Rngs(0)).blocks[0].conv1.kernel[...]

    assert kernel().shape == (3, 3, 16, 64)
    np.testing.assert_allclose(kernel().var(), 2 / (9 * 64), rtol=0.05)


@pytest.mark.parametrize("depth", [27, 18, 4, -2])
def test_depth_of_another_form_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6n \+ 4.*got {depth}"):
        WideResNet(depth=depth, width=1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("norm", ["layer", None])
def test_unknown_norm_is_refused(norm):
    with pytest.raises(ValueError, match="norm must be 'batch'"):
        WideResNet(depth=10, width=1, norm=norm, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 1)])
def test_what_is_no_batch_of_images_is_refused(shape):
    model = nnx.eval_shape(lambda: WideResNet(depth=10, width=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"x must be images \(B, H, W, 3\)"):
        model(jnp.zeros(shape))
