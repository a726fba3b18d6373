"""Every model trains for one epoch of a few random examples."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxnoise as jn
from jaxnoise import models

IMAGE, VOLUME, RGB, RGB_VOLUME = (4, 4, 1), (4, 4, 4, 1), (8, 8, 3), (8, 8, 8, 3)
U = {"width": 2, "levels": 1}
GENERATOR = {"width": 2, "blocks": 1}
PATCHES = {"width": 2, "layers": 1}
IN_3D = {"ndim": 3, "norm": "batch"}
LAYERS = {models.ConvTranspose}


def shallow(network, *layers):
    """The network but for its depth."""
    return type(network.__name__, (network,), {"layers": layers})


def slowly(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


CASES = [
    (models.FeedForward, {"image_size": 4, "width": 4}, (4, 4, 3)),
    (models.SmallCNN, {"image_size": 4}, (4, 4, 3)),
    slowly(shallow(models.ResNet18, 1, 1, 1, 1), {"width": 2}, RGB),
    slowly(shallow(models.ResNet101, 2, 1, 1, 1), {"width": 2}, RGB),
    slowly(models.WideResNet, {"depth": 10, "width": 1}, RGB),
    slowly(shallow(models.DenseNet121, 2, 1, 1, 1), {"growth": 4}, RGB),
    slowly(models.UNet, U, IMAGE),
    slowly(models.UNet, U | IN_3D, VOLUME),
    slowly(models.FCN, U | {"levels": 2}, IMAGE),
    slowly(models.FCN, U | {"ndim": 3, "norm": "instance"}, VOLUME),
    slowly(models.ResidualSkipUNet, U, IMAGE),
    slowly(models.ResidualSkipUNet, U | IN_3D, VOLUME),
    slowly(models.NucleiUNet, U, VOLUME),
    slowly(models.EncoderDecoder, U | {"norm": "none"}, VOLUME),
    slowly(models.EncoderDecoder, U, VOLUME),
    slowly(models.Pix2PixGenerator, {"width": 2, "levels": 3}, RGB),
    slowly(models.Pix2PixGenerator, {"width": 4, "levels": 6}, (64, 64, 3)),  # with dropout
    slowly(models.Pix2PixGenerator, {"width": 2, "levels": 3, "ndim": 3}, RGB_VOLUME),
    slowly(models.ResNetGenerator, GENERATOR, RGB),
    slowly(models.ResNetGenerator, GENERATOR | IN_3D, RGB_VOLUME),
    (models.PatchDiscriminator, PATCHES, RGB),
    slowly(models.PatchDiscriminator, PATCHES | IN_3D, RGB_VOLUME),
]


def name(value):
    if isinstance(value, dict):
        return ",".join(f"{key}={option}" for key, option in value.items())
    return value.__name__ if isinstance(value, type) else "x".join(map(str, value))


def squared_error(outputs, batch):
    return jnp.mean((outputs - batch["target"]) ** 2, axis=range(1, outputs.ndim))


def random_data(model, shape):
    """Six images with labels for a classifier, with targets for any other network."""
    rng = np.random.default_rng(1)
    image = rng.normal(size=(6, *shape)).astype(np.float32)
    output = nnx.eval_shape(lambda model, x: model(x), model, image)
    if output.ndim == 2:
        return {"image": image, "label": rng.integers(0, output.shape[-1], 6)}
    return {"image": image, "target": rng.normal(size=output.shape).astype(np.float32)}


def removed_biases(model):
    """Biases that a normalisation subtracts again, so that the loss doesn't depend on them."""
    return {
        (*path, conv, "bias")
        for path, module in nnx.iter_modules(model)
        for conv, norm in [("conv", "norm"), ("conv1", "norm1"), ("conv2", "norm2")]
        if isinstance(getattr(module, norm, None), nnx.BatchNorm | nnx.InstanceNorm)
    }


def moved(before, after):
    """Path of each array → whether some number in it has changed by more than rounding."""
    before, after = (dict(nnx.to_flat_state(state)) for state in (before, after))
    return {path: np.abs(after[path] - old).max() > 1e-6 for path, old in before.items()}


@pytest.mark.parametrize(("network", "options", "shape"), CASES, ids=name)
def test_one_epoch_moves_parameters_and_state(network, options, shape, scrambled):
    model = scrambled(lambda: network(rngs=nnx.Rngs(0), **options))
    data = random_data(model, shape)
    loss = jn.losses.cross_entropy if "label" in data else squared_error
    params, model_state, train_loss = models.split_train(model, loss)
    result = jn.training.fit(
        jax.random.key(0),
        train_loss,
        params,
        model_state,
        lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
        data,
        jn.schedules.NoiseStage(epochs=1, learning_rate=0.1, batch_size=3),
        progress=False,
    )
    assert np.isfinite(result.history.train_loss).all()
    by_path = moved(params, result.params)
    stayed = {path for path, has_moved in by_path.items() if not has_moved}
    assert stayed == removed_biases(model) & by_path.keys()
    state_by_path = moved(model_state, result.model_state)
    assert all(state_by_path.values())
    batch_norms = [m for _, m in nnx.iter_modules(model) if isinstance(m, nnx.BatchNorm)]
    assert len(state_by_path) == 2 * len(batch_norms)


def test_no_model_is_left_out():
    tested = {getattr(case, "values", case)[0].__name__ for case in CASES}
    exported = {value for value in vars(models).values() if inspect.isclass(value)} - LAYERS
    networks = {value.__name__ for value in exported if issubclass(value, nnx.Module)}
    assert tested == networks - {"ResNet34"}  # it has the blocks of ResNet18
