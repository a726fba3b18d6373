"""The networks for segmentation against slow forward passes in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import FCN, EncoderDecoder, NucleiUNet, ResidualSkipUNet, UNet

OF_VOLUMES = [NucleiUNet, EncoderDecoder]
NETWORKS = [UNet, FCN, ResidualSkipUNet, *OF_VOLUMES]


def name(value):
    return value.__name__ if isinstance(value, type) else str(value)


def slow_pool(x):
    """The greatest of every 2×2, or 2×2×2, pixels."""
    y = np.full((len(x), *[side // 2 for side in x.shape[1:-1]], x.shape[-1]), -np.inf)
    for offset in np.ndindex(*(2,) * (x.ndim - 2)):
        y = np.maximum(y, x[(slice(None), *[slice(start, None, 2) for start in offset])])
    return y


def slow_norm(layer, x, norm):
    if norm == "none":
        return x
    x = (x - np.asarray(layer.mean[...])) / np.sqrt(np.asarray(layer.var[...]) + 1e-5)
    return x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


def slow_u(model, x, skips, norm, residual, slow):
    """U-Net's features of the levels `skips` reach the decoder, `residual` modules on the way."""

    def twice(block, x):
        x = relu(slow_norm(block.norm1, slow.conv(block.conv1, x), norm))
        return relu(slow_norm(block.norm2, slow.conv(block.conv2, x), norm))

    features = []
    for block in model.encoder:
        features.append(twice(block, x))
        x = slow_pool(features[-1])
    x = twice(model.bottom, x)
    levels = len(features)
    for level in range(levels - 1, -1, -1):
        x = slow.double(model.up[level], x)
        if level in skips:
            skip = features[level]
            modules = model.skips[level].layers if residual else []
            assert len(modules) == (levels - level if residual else 0)
            for block in modules:
                y = relu(slow_norm(block.norm1, slow.conv(block.conv1, skip), norm))
                skip = relu(skip + slow_norm(block.norm2, slow.conv(block.conv2, y), norm))
            x = np.concatenate([skip, x], axis=-1)
        x = twice(model.decoder[level], x)
    return slow.conv(model.readout, x)


def slow_nuclei(model, x, skips, slow):
    def twice(block, x):
        x = leaky_relu(slow_norm(block.norm1, slow.conv(block.conv1, x), "batch"))
        return slow_norm(block.norm2, slow.conv(block.conv2, x), "batch")

    features = []
    for block in model.encoder:
        features.append(twice(block, x))
        x = slow_pool(features[-1])
    x = twice(model.bridge, x)
    for level in range(len(features) - 1, -1, -1):
        up = model.up[level]
        x = leaky_relu(slow_norm(up.norm, slow.double(up.conv, x), "batch"))
        x = twice(model.decoder[level], np.concatenate([features[level], x], -1) if skips else x)
    return 1 / (1 + np.exp(-slow.conv(model.readout, x)))


@nnx.jit
def forward(model, x):
    return model(x)


def run(model, x):
    """In inference mode, compiled."""
    model = nnx.view(model, use_running_average=True, raise_if_not_found=False)
    return forward(model, jnp.asarray(x, jnp.float32))


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def images(*shape):
    return np.random.default_rng(1).normal(size=shape)


@pytest.mark.parametrize(
    ("network", "options", "skips"),
    [
        (UNet, {"levels": 2, "norm": "batch"}, {0, 1}),
        (UNet, {"levels": 1, "ndim": 3}, {0}),
        (FCN, {"skips": 8, "levels": 3}, {1, 2}),
        (ResidualSkipUNet, {"levels": 2, "norm": "batch"}, {0, 1}),
    ],
    ids=name,
)
def test_forward_pass(network, options, skips, slow, scrambled):
    options = {"in_channels": 2, "out_channels": 3, "width": 2} | options
    model = scrambled(lambda: network(rngs=nnx.Rngs(0), **options))
    x = images(2, 4, 8, 4, 2) if "ndim" in options else images(2, 8, 16, 2)
    residual = network is ResidualSkipUNet
    expected = slow_u(model, x, skips, options.get("norm", "none"), residual, slow)
    assert_close(run(model, x), expected)


@pytest.mark.parametrize("network", OF_VOLUMES, ids=name)
def test_forward_pass_of_volumes(network, slow, scrambled):
    options = {"in_channels": 2, "out_channels": 3, "width": 2, "levels": 2}
    model = scrambled(lambda: network(rngs=nnx.Rngs(0), **options))
    x = images(2, 4, 8, 4, 2)
    assert_close(run(model, x), slow_nuclei(model, x, network is NucleiUNet, slow))


def test_fcn_is_the_unet_with_its_finest_skip_cut(scrambled):
    """Zeros where the decoder would read the skip do the same as leaving it out."""
    unet = scrambled(lambda: UNet(width=2, levels=3, rngs=nnx.Rngs(0)))
    fcn = scrambled(lambda: FCN(skips=8, width=2, levels=3, rngs=nnx.Rngs(0)))
    shared = nnx.as_pure(nnx.state(unet))
    kernel = np.asarray(shared["decoder"][0]["conv1"]["kernel"])
    assert kernel.shape == (3, 3, 4, 2)
    zeroed = kernel.copy()
    zeroed[:, :, :2] = 0

    def reading(kernel):
        shared["decoder"][0]["conv1"]["kernel"] = jnp.asarray(kernel)
        return shared

    x = images(1, 8, 8, 1)
    whole = run(unet, x)
    nnx.update(unet, reading(zeroed))
    without = run(unet, x)
    nnx.update(fcn, reading(kernel[:, :, 2:]))
    assert_close(run(fcn, x), without)
    assert not np.allclose(whole, without, rtol=1e-2)


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        (UNet, {}, 31_030_593),
        (UNet, {"in_channels": 3, "out_channels": 2}, 31_030_593 + 2 * 9 * 64 + 65),
        (UNet, {"norm": "batch"}, 31_030_593 + 2 * 2 * (2 * (64 + 128 + 256 + 512) + 1024)),
        (UNet, {"ndim": 3, "width": 2, "levels": 1}, 56 + 110 + 220 + 436 + 66 + 218 + 110 + 3),
        (FCN, {}, 30_256_449),
        (FCN, {"skips": 8}, 30_846_273),
        (FCN, {"skips": 4}, 30_993_729),
        (ResidualSkipUNet, {}, 21_332_673),
        (NucleiUNet, {}, 402_553),
        (NucleiUNet, {"levels": 4}, 1_620_409),
        (NucleiUNet, {"norm": "none"}, 402_553 - 2 * (5 * (8 + 16 + 32) + 2 * 64)),
        (EncoderDecoder, {}, 366_265),
    ],
    ids=name,
)
def test_number_of_parameters(network, options, expected, count_parameters):
    assert count_parameters(lambda: network(rngs=nnx.Rngs(0), **options)) == expected


@pytest.mark.parametrize(
    ("network", "options", "ndim"),
    [
        *[(network, {}, 2) for network in NETWORKS[:3]],
        *[
            pytest.param(network, {"ndim": 3}, 3, marks=pytest.mark.slow)
            for network in NETWORKS[:3]
        ],
        *[(network, {}, 3) for network in OF_VOLUMES],
    ],
    ids=name,
)
def test_computation_in_bfloat16(network, options, ndim):
    """In every layer; the parameters stay float32, and so does the result without `dtype`."""

    def outputs(**dtype):
        model = network(width=2, norm="group", rngs=nnx.Rngs(0), **options, **dtype)
        return model, model(jnp.zeros((2, *[16] * ndim, 1), jnp.bfloat16))

    model, y = nnx.eval_shape(lambda: outputs(dtype=jnp.bfloat16))
    assert (y.shape, y.dtype) == ((2, *[16] * ndim, 1), jnp.bfloat16)
    layers = [vars(module) for _, module in nnx.iter_modules(model)]
    assert {layer["dtype"] for layer in layers if "dtype" in layer} == {jnp.bfloat16}
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert {leaf.dtype for leaf in params} == {jnp.dtype("float32")}
    _, y = nnx.eval_shape(outputs)
    assert y.dtype == jnp.float32


@pytest.mark.parametrize("network", [UNet, NucleiUNet], ids=name)
def test_kernels_start_from_he_with_fan_in(network):
    @jax.jit  # so that only this one kernel is computed
    def kernel():
        return network(width=16, rngs=nnx.Rngs(0)).encoder[1].conv2.kernel[...]

    assert kernel().shape[-2:] == (32, 32)
    np.testing.assert_allclose(kernel().var(), 2 / (kernel().size / 32), rtol=0.05)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (UNet, {"ndim": 4}, "ndim must be 2 for images or 3 for volumes, got 4"),
        (UNet, {"levels": 0}, "levels must be at least 1, got 0"),
        (UNet, {"norm": "layer"}, "norm must be 'batch'"),
        (FCN, {"skips": 5}, "skips must be 16, 8 or 4, got 5"),
        (FCN, {"skips": 4, "levels": 2}, "levels must be at least 3, got 2"),
        (ResidualSkipUNet, {"ndim": 1}, "ndim must be 2 for images or 3 for volumes, got 1"),
        (ResidualSkipUNet, {"levels": 0}, "levels must be at least 1, got 0"),
        (NucleiUNet, {"levels": 0}, "levels must be at least 1, got 0"),
    ],
    ids=name,
)
def test_bad_options_are_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: network(width=2, rngs=nnx.Rngs(0), **options))


WRONG_SHAPES = [
    ([16, 24, 16], 1, "with sides that are multiples of 16"),
    ([16, 0, 16], 1, "multiples of 16 and at least 16 pixels"),
    ([16, 16, 16], 2, r"x must be (images|volumes) \(B, .*H, W, 1\), got shape"),
    ([16], 1, r"x must be (images|volumes) \(B, .*H, W, 1\), got shape"),
]


@pytest.mark.parametrize("network", NETWORKS, ids=name)
def test_images_of_a_wrong_shape_are_refused(network):
    model = nnx.eval_shape(lambda: network(width=2, levels=4, rngs=nnx.Rngs(0)))
    for sides, channels, message in WRONG_SHAPES:
        ndim = 3 if network in OF_VOLUMES else 2
        x = jnp.zeros((1, *sides[:ndim], channels))
        with pytest.raises(ValueError, match=message):
            nnx.eval_shape(lambda model, x: model(x), model, x)
