"""The two plain classifiers against NumPy, their numbers of parameters, every one's dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models import (
    DenseNet121,
    FeedForward,
    ResNet18,
    ResNet101,
    SmallCNN,
    WideResNet,
)


def images(size, channels, batch=2):
    return np.random.default_rng(1).normal(size=(batch, size, size, channels))


def relu(x):
    return np.maximum(x, 0)


def halve(x):
    """The largest of each 2×2 block; an odd last row or column is dropped."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    y = np.zeros((len(x), rows, columns, x.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        y[:, i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(1, 2))
    return y


def test_feed_forward_is_three_affine_maps(slow, scrambled):
    options: dict = {"num_classes": 5, "in_channels": 2, "image_size": 3, "width": 7}
    model = scrambled(lambda: FeedForward(rngs=nnx.Rngs(0), **options))
    x = images(3, 2)
    hidden = relu(slow.dense(model.dense1, x.reshape(2, -1)))
    hidden = relu(slow.dense(model.dense2, hidden))
    scores = model(jnp.asarray(x, jnp.float32))
    assert scores.shape == (2, 5)
    np.testing.assert_allclose(scores, slow.dense(model.readout, hidden), rtol=1e-5, atol=1e-5)


def test_feed_forward_takes_vectors_as_well(scrambled):
    model = scrambled(lambda: FeedForward(in_channels=2, image_size=3, width=7, rngs=nnx.Rngs(0)))
    x = jnp.asarray(images(3, 2), jnp.float32)
    np.testing.assert_array_equal(model(x.reshape(2, -1)), model(x))


@pytest.mark.parametrize("size", [4, 9])
def test_small_cnn_is_two_convolutions_and_three_affine_maps(size, slow, scrambled):
    options = {"num_classes": 3, "in_channels": 2, "image_size": size}
    model = scrambled(lambda: SmallCNN(rngs=nnx.Rngs(0), **options))
    x = images(size, 2)
    maps = halve(relu(slow.conv(model.conv1, x)))
    maps = halve(relu(slow.conv(model.conv2, maps)))
    hidden = relu(slow.dense(model.dense1, maps.reshape(2, -1)))
    hidden = relu(slow.dense(model.dense2, hidden))
    scores = model(jnp.asarray(x, jnp.float32))
    assert scores.shape == (2, 3)
    np.testing.assert_allclose(scores, slow.dense(model.readout, hidden), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [0, 3])
def test_small_cnn_refuses_images_it_cannot_halve_twice(size):
    with pytest.raises(ValueError, match="image_size must be at least 4"):
        SmallCNN(image_size=size, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("channels", "size", "width", "classes"), [(3, 32, 256, 10), (1, 5, 3, 2)])
def test_feed_forward_parameters(channels, size, width, classes, count_parameters):
    inputs = channels * size**2
    expected = (inputs + 1) * width + (width + 1) * width + (width + 1) * classes

    def make():
        return FeedForward(
            num_classes=classes,
            in_channels=channels,
            image_size=size,
            width=width,
            rngs=nnx.Rngs(0),
        )

    assert count_parameters(make) == expected


@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 32, 10), (1, 28, 10), (2, 11, 4)])
def test_small_cnn_parameters(channels, size, classes, count_parameters):
    flat = 64 * (size // 4) ** 2
    convolutions = (25 * channels + 1) * 64 + (25 * 64 + 1) * 64
    expected = convolutions + (flat + 1) * 384 + (384 + 1) * 192 + (192 + 1) * classes

    def make():
        return SmallCNN(
            num_classes=classes, in_channels=channels, image_size=size, rngs=nnx.Rngs(0)
        )

    assert count_parameters(make) == expected


@pytest.mark.parametrize("model_class", [FeedForward, SmallCNN])
def test_kernels_start_from_he_and_biases_at_zero(model_class):
    @jax.jit
    def initial():
        return nnx.as_pure(nnx.state(model_class(image_size=8, rngs=nnx.Rngs(0))))

    for path, leaf in nnx.to_flat_state(initial()):
        if path[-1] == "bias":
            np.testing.assert_array_equal(leaf, 0)
        elif leaf.size > 10_000:
            np.testing.assert_allclose(leaf.var(), 2 / np.prod(leaf.shape[:-1]), rtol=0.05)


def test_same_seed_same_model_other_seed_other_model():
    first, same, other = (
        nnx.as_pure(nnx.state(FeedForward(image_size=2, width=2, rngs=nnx.Rngs(seed))))
        for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, same)
    assert np.all(first["dense1"]["kernel"] != other["dense1"]["kernel"])


@pytest.mark.parametrize(
    ("model_class", "options"),
    [
        (FeedForward, {"image_size": 8}),
        (SmallCNN, {"image_size": 8}),
        (ResNet18, {"stem": "imagenet", "norm": "group"}),
        (ResNet101, {"norm": "none"}),
        (WideResNet, {"depth": 10, "norm": "group"}),
        pytest.param(DenseNet121, {}, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_dtype_is_that_of_every_layer_but_of_no_parameter(model_class, options):
    model = nnx.eval_shape(lambda: model_class(dtype=jnp.bfloat16, rngs=nnx.Rngs(0), **options))
    layers = [vars(layer) for _, layer in nnx.iter_modules(model)]
    assert {layer["dtype"] for layer in layers if "dtype" in layer} == {jnp.bfloat16}
    graphdef, state = nnx.split(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32")}
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), "float32")
    scores = jax.eval_shape(lambda state, x: nnx.merge(graphdef, state)(x), state, x)
    assert scores.shape == (2, 10)
    assert scores.dtype == jnp.bfloat16


@pytest.mark.parametrize("model_class", [FeedForward, SmallCNN])
def test_bfloat16_scores_are_near_those_of_float32(model_class, scrambled):
    exact, rounded = (
        scrambled(lambda dtype=dtype: model_class(image_size=8, dtype=dtype, rngs=nnx.Rngs(0)))
        for dtype in (None, jnp.bfloat16)
    )
    x = jnp.asarray(images(8, 3), jnp.float32)
    expected = exact(x)
    assert expected.dtype == jnp.float32
    error = jnp.abs(rounded(x).astype(jnp.float32) - expected).max()
    assert 0 < error < 0.05 * jnp.abs(expected).max()
