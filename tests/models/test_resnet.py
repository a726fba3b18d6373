"""The residual networks against a slow forward pass in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import ResNet18, ResNet34, ResNet101


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


def slow_pool(x):
    """The largest of every other 3×3 window of the map, which may stick out by one pixel."""
    rows, columns = (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2
    y = np.zeros((len(x), rows, columns, x.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        top, left = max(2 * i - 1, 0), max(2 * j - 1, 0)
        y[:, i, j] = x[:, top : 2 * i + 2, left : 2 * j + 2].max(axis=(1, 2))
    return y


def slow_block(block, x, stride, norm, conv):
    """The stride is in the first 3×3 convolution: the first of a basic block's two."""
    layers = [(block.conv1, block.norm1), (block.conv2, block.norm2)]
    if hasattr(block, "conv3"):
        layers.append((block.conv3, block.norm3))
    strided = next(layer for layer, _ in layers if layer.kernel_size == (3, 3))
    y = x
    for layer, layer_norm in layers:
        y = np.maximum(y, 0)  # that of the last block has done so already
        y = slow_norm(layer_norm, conv(layer, y, stride if layer is strided else 1), norm)
    if hasattr(block.shortcut, "layers"):
        projection, projection_norm = block.shortcut.layers
        x = slow_norm(projection_norm, conv(projection, x, stride), norm)
    return np.maximum(x + y, 0)


def slow_forward(model, x, norm, conv, dense, stem_stride=1):
    x = np.maximum(slow_norm(model.stem_norm, conv(model.stem, x, stem_stride), norm), 0)
    if stem_stride == 2:
        x = slow_pool(x)
    strided = set(np.cumsum(model.layers[:-1]))
    for index, block in enumerate(model.blocks):
        x = slow_block(block, x, 2 if index in strided else 1, norm, conv)
    return dense(model.readout, x.mean(axis=(1, 2)))


def assert_as_slow(make, size, slow, scrambled, norm="batch", stem_stride=1):
    model = nnx.view(scrambled(make), use_running_average=True, raise_if_not_found=False)
    x = np.random.default_rng(1).normal(size=(2, size, size, 2))
    scores = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x, jnp.float32))
    expected = slow_forward(model, x, norm, slow.conv, slow.dense, stem_stride)
    assert scores.shape == (2, 4)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_forward_pass(norm, slow, scrambled):
    """Maps of 10, 5, 3 and 2 pixels: even and odd ones under stride 2; groups of 3 channels."""
    options = {"num_classes": 4, "in_channels": 2, "width": 3, "norm": norm}
    assert_as_slow(lambda: ResNet18(rngs=nnx.Rngs(0), **options), 10, slow, scrambled, norm=norm)


class Bottlenecks(ResNet101):
    """ResNet101 but for its depth."""

    layers = (2, 1, 1, 1)


@pytest.mark.parametrize(
    "model_class", [Bottlenecks, pytest.param(ResNet101, marks=pytest.mark.slow)]
)
def test_forward_pass_of_bottlenecks(model_class, slow, scrambled):
    options = {"num_classes": 4, "in_channels": 2, "width": 2}
    assert_as_slow(lambda: model_class(rngs=nnx.Rngs(0), **options), 10, slow, scrambled)


@pytest.mark.parametrize("size", [18, pytest.param(21, marks=pytest.mark.slow)])
def test_forward_pass_with_the_stem_for_imagenet(size, slow, scrambled):
    """Maps of 9 and 5 pixels, or 11 and 6, in the stem."""
    options = {"num_classes": 4, "in_channels": 2, "width": 2, "stem": "imagenet"}
    assert_as_slow(
        lambda: ResNet18(rngs=nnx.Rngs(0), **options), size, slow, scrambled, stem_stride=2
    )


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
    ("model_class", "options", "expected"),
    [
        (ResNet18, {}, 11_173_962),
        (ResNet18, {"num_classes": 100}, 11_173_962 + 90 * 513),
        (ResNet18, {"in_channels": 1}, 11_173_962 - 2 * 9 * 64),
        (ResNet18, {"norm": "none"}, 11_173_962 - 9_600),  # two for each of 4,800 channels
        (ResNet18, {"stem": "imagenet", "num_classes": 1000}, 11_689_512),
        pytest.param(ResNet34, {}, 21_282_122, marks=pytest.mark.slow),
        pytest.param(
            ResNet34, {"stem": "imagenet", "num_classes": 1000}, 21_797_672, marks=pytest.mark.slow
        ),
        pytest.param(ResNet101, {}, 42_512_970, marks=pytest.mark.slow),
        pytest.param(
            ResNet101, {"stem": "imagenet", "num_classes": 1000}, 44_549_160, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_number_of_parameters(model_class, options, expected, count_parameters):
    assert count_parameters(lambda: model_class(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize("norm", ["layer", None, "Batch"])
def test_unknown_norm_is_refused(norm):
    with pytest.raises(ValueError, match="norm must be 'batch', 'group', 'instance' or 'none'"):
        ResNet18(width=2, norm=norm, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("stem", ["small", None, "ImageNet"])
def test_unknown_stem_is_refused(stem):
    with pytest.raises(ValueError, match="stem must be 'cifar' or 'imagenet'"):
        ResNet18(width=2, stem=stem, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 1), (2, 8, 0, 3), (1, 2, 8, 8, 3)])
def test_what_is_no_batch_of_images_is_refused(shape):
    model = nnx.eval_shape(lambda: ResNet18(width=2, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"x must be images \(B, H, W, 3\)"):
        model(jnp.zeros(shape))


def test_kernels_start_from_he_with_fan_out():
    @jax.jit  # so that only this one kernel is computed
    def kernel():
        return ResNet18(width=32, rngs=nnx.Rngs(0)).blocks[2].conv1.kernel[...]

    assert kernel().shape == (3, 3, 32, 64)
    np.testing.assert_allclose(kernel().var(), 2 / (9 * 64), rtol=0.05)
