"""Generators and the discriminator against slow forward passes in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import PatchDiscriminator, Pix2PixGenerator, ResNetGenerator

NETWORKS = [Pix2PixGenerator, ResNetGenerator, PatchDiscriminator]


def name(value):
    return getattr(value, "__name__", str(value))


def slow_norm(layer, x, norm):
    if norm == "none":
        return x
    if norm == "instance":
        axes = tuple(range(1, x.ndim - 1))
        x = x - x.mean(axis=axes, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + 1e-5)
    x = (x - np.asarray(layer.mean[...])) / np.sqrt(np.asarray(layer.var[...]) + 1e-5)
    return x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


def slow_pix2pix(model, x, norm, dropped, slow):
    """With zeros for the results of the decoder's levels `dropped`."""
    levels = len(model.down)
    features = []
    for level, layer in enumerate(model.down):
        x = slow.conv(layer.conv, x if level == 0 else leaky_relu(x), 2, padding=1)
        if 0 < level < levels - 1:
            x = slow_norm(layer.norm, x, norm)
        features.append(x)
    for level in range(levels - 1, 0, -1):
        layer = model.up[level]
        y = slow_norm(layer.norm, slow.double(layer.conv, relu(x)), norm)
        x = np.concatenate([features[level - 1], 0 * y if level in dropped else y], axis=-1)
    return np.tanh(slow.double(model.up[0].conv, relu(x)))


def slow_resnet(model, x, norm, slow):
    def mirrored(layer, x):
        margin = layer.conv.kernel.shape[0] // 2
        return slow_norm(layer.norm, slow.conv(layer.conv, x, 1, margin, "reflect"), norm)

    x = relu(mirrored(model.stem, x))
    for layer in model.down:
        x = relu(slow_norm(layer.norm, slow.conv(layer.conv, x, 2), norm))
    for first, second in model.blocks:
        x = x + mirrored(second, relu(mirrored(first, x)))
    for layer in model.up:
        x = relu(slow_norm(layer.norm, slow.double(layer.conv, x), norm))
    return np.tanh(slow.conv(model.readout.conv, x, 1, 3, "reflect"))


def slow_patches(model, x, norm, slow):
    first, *others, last = model.stack
    x = leaky_relu(slow.conv(first.conv, x, 2, 1))
    for layer in others:
        x = leaky_relu(slow_norm(layer.norm, slow.conv(layer.conv, x, 2, 1), norm))
    x = leaky_relu(slow_norm(last.norm, slow.conv(last.conv, x, 1, 1), norm))
    return slow.conv(model.readout.conv, x, 1, 1)


def run(model, x, deterministic=True):
    """With running averages, compiled."""
    mode = {"use_running_average": True, "deterministic": deterministic}
    model = nnx.view(model, raise_if_not_found=False, **mode)
    return nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x, jnp.float32))


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=5e-4, atol=5e-4 * np.abs(expected).max())


def images(*shape):
    return np.random.default_rng(1).normal(size=shape)


@pytest.mark.parametrize(
    ("norm", "levels", "shape"),
    [
        ("batch", 3, (2, 8, 16, 2)),
        pytest.param("instance", 3, (1, 8, 8, 16, 2), marks=pytest.mark.slow),
    ],
)
def test_pix2pix(norm, levels, shape, slow, scrambled):
    options = {"in_channels": 2, "out_channels": 4, "width": 2, "levels": levels, "norm": norm}
    options["ndim"] = len(shape) - 2
    model = scrambled(lambda: Pix2PixGenerator(rngs=nnx.Rngs(0), **options))
    x = images(*shape)
    assert_close(run(model, x), slow_pix2pix(model, x, norm, (), slow))


def test_dropout_of_pix2pix(slow, scrambled):
    """Dropout of all at level 4, the only one of 8 widths of six levels but for the innermost."""
    model = scrambled(lambda: Pix2PixGenerator(width=2, levels=6, rngs=nnx.Rngs(0)))
    x = images(1, 64, 64, 3)
    kept = slow_pix2pix(model, x, "batch", (), slow)
    expected = slow_pix2pix(model, x, "batch", (4,), slow)
    for layer in model.dropout:
        if isinstance(layer, nnx.Dropout):
            assert layer.rate == 0.5
            layer.rate = 1.0
    assert_close(run(model, x, deterministic=False), expected)
    assert not np.allclose(kept, expected, rtol=1e-2)


@pytest.mark.parametrize("levels", [2, 5, 6, 8])
def test_number_of_dropouts(levels):
    model = nnx.eval_shape(lambda: Pix2PixGenerator(width=1, levels=levels, rngs=nnx.Rngs(0)))
    dropped = [n for n, layer in enumerate(model.dropout) if isinstance(layer, nnx.Dropout)]
    assert dropped == list(range(4, levels - 1))


@pytest.mark.parametrize(
    ("norm", "shape"), [("instance", (2, 8, 16, 2)), ("batch", (1, 8, 8, 8, 2))]
)
def test_resnet_generator(norm, shape, slow, scrambled):
    options = {"in_channels": 2, "out_channels": 4, "width": 2, "blocks": 2, "norm": norm}
    options["ndim"] = len(shape) - 2
    model = scrambled(lambda: ResNetGenerator(rngs=nnx.Rngs(0), **options))
    x = images(*shape)
    assert_close(run(model, x), slow_resnet(model, x, norm, slow))


@pytest.mark.parametrize(
    ("norm", "layers", "shape"),
    [("instance", 2, (2, 12, 17, 2)), ("batch", 1, (1, 6, 7, 8, 2))],
)
def test_patch_discriminator(norm, layers, shape, slow, scrambled):
    options = {"in_channels": 2, "width": 2, "layers": layers, "norm": norm}
    options["ndim"] = len(shape) - 2
    model = scrambled(lambda: PatchDiscriminator(rngs=nnx.Rngs(0), **options))
    x = images(*shape)
    assert_close(run(model, x), slow_patches(model, x, norm, slow))


def test_a_score_sees_70_pixels_a_side(scrambled):
    model = scrambled(
        lambda: PatchDiscriminator(in_channels=1, width=2, norm="none", rngs=nnx.Rngs(0))
    )
    x = jnp.asarray(images(1, 104, 104, 1), jnp.float32)
    gradient = nnx.jit(nnx.grad(lambda x, model: model(x)[0, 5, 5, 0]))(x, model)
    rows, columns = np.nonzero(np.asarray(gradient)[0, :, :, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 70
    assert len(rows) == 70**2


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        (Pix2PixGenerator, {}, 54_413_955),
        (Pix2PixGenerator, {"in_channels": 1}, 54_413_955 - 2 * 16 * 64),
        # a bias in place of a scale and a bias for each of 4,928 channels, and where none was
        (Pix2PixGenerator, {"norm": "instance"}, 54_413_955 + 64 + 512 - 4_928),
        (Pix2PixGenerator, {"levels": 7}, 54_413_955 - 16 * (512 + 1024) * 512 - 2 * 2 * 512),
        (
            Pix2PixGenerator,
            {"ndim": 3, "levels": 2, "width": 2},
            *[64 * 3 * 2 + 64 * 2 * 4 + 64 * 4 * 2 + 2 * 2 + 64 * 4 * 3 + 3],
        ),
        (ResNetGenerator, {}, 11_378_179),
        (ResNetGenerator, {"blocks": 6}, 11_378_179 - 3 * 2 * (9 * 256 + 1) * 256),
        # one more for each channel: scale and bias, no bias of the convolution
        (ResNetGenerator, {"norm": "batch"}, 11_378_179 + 64 + 128 + 256 + 18 * 256 + 128 + 64),
        (PatchDiscriminator, {}, 2_764_737),
        (PatchDiscriminator, {"in_channels": 6, "norm": "batch"}, 2_768_705),
        (
            PatchDiscriminator,
            {"layers": 4, "ndim": 3, "width": 1},
            193 + 130 + 516 + 2056 + 4104 + 513,
        ),
    ],
    ids=name,
)
def test_number_of_parameters(network, options, expected, count_parameters):
    assert count_parameters(lambda: network(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("network", "options", "side", "channels"),
    [
        (Pix2PixGenerator, {"levels": 5}, 32, 3),
        (ResNetGenerator, {"blocks": 1}, 32, 3),
        (PatchDiscriminator, {}, 2, 1),
    ],
    ids=name,
)
def test_computation_in_bfloat16(network, options, side, channels, ndim):
    """In every layer; the parameters stay float32, and so does the result without `dtype`."""

    def outputs(**dtype):
        model = network(width=2, ndim=ndim, norm="group", rngs=nnx.Rngs(0), **options, **dtype)
        return model, model(jnp.zeros((2, *[32] * ndim, 3), jnp.bfloat16))

    model, y = nnx.eval_shape(lambda: outputs(dtype=jnp.bfloat16))
    assert (y.shape, y.dtype) == ((2, *[side] * ndim, channels), jnp.bfloat16)
    layers = [vars(module) for _, module in nnx.iter_modules(model)]
    assert {layer["dtype"] for layer in layers if "dtype" in layer} == {jnp.bfloat16}
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert {leaf.dtype for leaf in params} == {jnp.dtype("float32")}
    _, y = nnx.eval_shape(outputs)
    assert y.dtype == jnp.float32


@pytest.mark.parametrize(
    ("network", "kernel"),
    [
        (Pix2PixGenerator, lambda model: model.up[2].conv.kernel),
        (ResNetGenerator, lambda model: model.up[0].conv.kernel),
        (PatchDiscriminator, lambda model: model.stack[2].conv.kernel),
    ],
    ids=name,
)
def test_kernels_start_from_a_normal_distribution(network, kernel):
    start = jax.jit(lambda: kernel(network(width=16, rngs=nnx.Rngs(0)))[...])()
    np.testing.assert_allclose(start.std(), 0.02, rtol=0.05)
    np.testing.assert_allclose(start.mean(), 0, atol=0.001)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (Pix2PixGenerator, {"levels": 1}, "levels must be at least 2, got 1"),
        (ResNetGenerator, {"blocks": -1}, "blocks must be at least 0, got -1"),
        (PatchDiscriminator, {"layers": 0}, "layers must be at least 1, got 0"),
        *[(network, {"ndim": 4}, "ndim must be 2 for images or 3 for") for network in NETWORKS],
        *[(network, {"norm": "layer"}, "norm must be 'batch'") for network in NETWORKS],
    ],
    ids=name,
)
def test_bad_options_are_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: network(width=2, rngs=nnx.Rngs(0), **options))


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (Pix2PixGenerator, (1, 256, 128, 3), "with sides that are multiples of 256"),
        (ResNetGenerator, (1, 16, 18, 3), "with sides that are multiples of 4"),
        (ResNetGenerator, (1, 8, 4, 3), "at least 8 pixels"),
        (PatchDiscriminator, (1, 24, 23, 3), "at least 24 pixels"),
        *[
            (network, (1, 256, 256, 4), r"x must be images \(B, H, W, 3\), got shape")
            for network in NETWORKS
        ],
        *[
            (network, (256, 256, 3), r"x must be images \(B, H, W, 3\), got shape")
            for network in NETWORKS
        ],
    ],
    ids=name,
)
def test_images_of_a_wrong_shape_are_refused(network, shape, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: network(width=1, rngs=nnx.Rngs(0))(jnp.zeros(shape)))
