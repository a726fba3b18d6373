"""Every network of the library, at a small size: its gradients' norms against `jax.vmap`'s."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise import losses, models
from jaxnoise.gradients import _profile, noise_profile, per_example, squared_norms_and_mean

IMAGE, VOLUME, RGB, RGB_VOLUME = (4, 4, 1), (4, 4, 4, 1), (8, 8, 3), (8, 8, 8, 3)
U = {"width": 2, "levels": 1}
GENERATOR = {"width": 2, "blocks": 1}
PATCHES = {"width": 2, "layers": 1}
IN_3D = {"ndim": 3, "norm": "instance"}
LAYERS = {models.ConvTranspose}


def shallow(network, *layers):
    """The network but for its depth."""
    return type(network.__name__, (network,), {"layers": layers})


def slowly(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


CASES = [
    (models.FeedForward, {"image_size": 4, "width": 4}, (4, 4, 3)),
    slowly(models.SmallCNN, {"image_size": 4}, (4, 4, 3)),
    slowly(shallow(models.ResNet18, 1, 1, 1, 1), {"width": 2}, RGB),
    slowly(shallow(models.ResNet18, 1, 1, 1, 1), {"width": 4, "norm": "group"}, RGB),
    slowly(shallow(models.ResNet101, 2, 1, 1, 1), {"width": 2}, RGB),
    slowly(models.WideResNet, {"depth": 10, "width": 1}, RGB),
    slowly(shallow(models.DenseNet121, 2, 1, 1, 1), {"growth": 4}, RGB),
    slowly(models.UNet, U, IMAGE),
    slowly(models.UNet, U | {"ndim": 3}, VOLUME),
    slowly(models.FCN, U | {"levels": 2}, IMAGE),
    slowly(models.ResidualSkipUNet, U, IMAGE),
    slowly(models.NucleiUNet, U, VOLUME),
    slowly(models.EncoderDecoder, U, VOLUME),
    slowly(models.Pix2PixGenerator, {"width": 2, "levels": 3}, RGB),
    slowly(models.ResNetGenerator, GENERATOR, RGB),
    slowly(models.PatchDiscriminator, PATCHES, RGB),
    slowly(models.PatchDiscriminator, PATCHES | IN_3D, RGB_VOLUME),
]


NOISY = [
    (models.SmallCNN, {"image_size": 4}, (4, 4, 3)),
    (models.WideResNet, {"depth": 10, "width": 1}, RGB),
    (models.UNet, U, IMAGE),
    (models.ResNetGenerator, GENERATOR, RGB),
]


def name(value):
    if isinstance(value, dict):
        return ",".join(f"{key}={option}" for key, option in value.items())
    return value.__name__ if isinstance(value, type) else "x".join(map(str, value))


def squared_error(outputs, batch):
    return jnp.mean((outputs - batch["target"]) ** 2, axis=range(1, outputs.ndim))


def drawn(make):
    """The network that `make()` gives, with random numbers for all its floating arrays."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        values = rng.normal(size=leaf.shape)
        if path[-1] == "var":
            values = np.exp(values / 2)
        elif path[-1] == "kernel":
            values *= math.sqrt(2 / math.prod(leaf.shape[:-1]))
        return jnp.asarray(values, leaf.dtype)

    graphdef, state = nnx.split(nnx.eval_shape(make))
    flat = {path: draw(path, leaf) for path, leaf in nnx.to_flat_state(nnx.as_pure(state))}
    return nnx.merge(graphdef, nnx.from_flat_state(flat))


@pytest.fixture(autouse=True)
def _forget_each_network():
    """The programs of all together are more than a process may map into memory."""
    yield
    jax.clear_caches()


def prepared(network, options, shape):
    """(loss_fn, params, data): four images with labels or targets."""
    model = drawn(lambda: network(rngs=nnx.Rngs(0), **options))
    rng = np.random.default_rng(1)
    data = {"image": rng.normal(size=(4, *shape)).astype(np.float32)}
    output = nnx.eval_shape(lambda model, x: model(x), model, data["image"])
    if output.ndim == 2:
        data["label"] = rng.integers(0, output.shape[-1], 4)
    else:
        data["target"] = rng.normal(size=output.shape).astype(np.float32)
    example_loss = losses.cross_entropy if output.ndim == 2 else squared_error
    params, loss_fn = models.split(model, example_loss)
    return loss_fn, params, data


def gradients_in_double_precision(loss_fn, params, data):
    """(n, …) leaves by `jax.vmap`."""
    with jax.enable_x64(True):

        def wide(x):
            is_floating = jnp.issubdtype(x.dtype, jnp.floating)
            return jnp.asarray(x, jnp.float64) if is_floating else x

        return jax.tree.map(np.asarray, per_example(*jax.tree.map(wide, (loss_fn, params, data))))


def total_norms(gradients):
    return sum(np.sum(g.reshape(len(g), -1) ** 2, axis=1) for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize(("network", "options", "shape"), CASES, ids=name)
def test_norms_and_mean(network, options, shape):
    case = prepared(network, options, shape)
    norms, mean = squared_norms_and_mean(*case)
    gradients = gradients_in_double_precision(*case)
    np.testing.assert_allclose(norms, total_norms(gradients), rtol=1e-5)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(gradients))
    for ours, twin in zip(jax.tree.leaves(mean), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(ours, twin.mean(0), rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "options", "shape"), NOISY, ids=name)
@pytest.mark.parametrize("part_left", [-np.inf, np.inf])
def test_noise(network, options, shape, part_left, monkeypatch):
    """By norms and slopes, and by the differences themselves."""
    monkeypatch.setattr(_profile, "_LEFT", part_left)
    _profile._profile_by_slopes.clear_cache()
    case = prepared(network, options, shape)
    profile = noise_profile(*case)
    _profile._profile_by_slopes.clear_cache()
    gradients = gradients_in_double_precision(*case)
    noise = total_norms(jax.tree.map(lambda g: g - g.mean(0), gradients))
    np.testing.assert_allclose(profile.noise_squared_norms, noise, rtol=1e-4)


def test_no_network_is_left_out():
    tested = {getattr(case, "values", case)[0].__name__ for case in CASES}
    exported = {value for value in vars(models).values() if inspect.isclass(value)} - LAYERS
    networks = {value.__name__ for value in exported if issubclass(value, nnx.Module)}
    assert tested == networks - {"ResNet34"}  # it has the blocks of ResNet18
