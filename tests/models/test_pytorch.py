"""The models against their twins in PyTorch: its stored outputs, and the live twins."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise import losses, models

FOLDER = Path(__file__).parents[1] / "fixtures" / "models"
SCRIPT = SimpleNamespace(**runpy.run_path(str(FOLDER / "make_fixtures.py")))
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}

SLOW = ("densenet121", "resnet18_wide")

each_network = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in SCRIPT.INFERENCE
    ],
)

each_training = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in SCRIPT.TRAINING
    ],
)


def load(name):
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@nnx.jit
def forward(model, x):
    return model(x)


@nnx.jit
def training_step(model, x, labels):
    """((loss, scores), gradients); the model's running statistics take in the batch's."""

    def mean_loss(model):
        scores = model(x)
        return losses.cross_entropy(scores, {"label": labels}).mean(), scores

    return nnx.value_and_grad(mean_loss, has_aux=True)(model)


def relative_error(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def check_inference(name, expected, dtype, seed=0):
    with jax.enable_x64(dtype == "float64"):
        model = SCRIPT.make_model(name, seed=seed, dtype=dtype)
        model = nnx.view(model, use_running_average=True, raise_if_not_found=False)
        y = forward(model, jnp.asarray(expected["x"], dtype))
    assert y.dtype == dtype
    assert y.shape == expected["y"].shape
    assert relative_error(y, expected["y"]) < TOLERANCE[dtype]


def check_training(name, expected, dtype, seed=0):
    with jax.enable_x64(dtype == "float64"):
        model = SCRIPT.make_model(name, seed=seed, dtype=dtype)
        model = nnx.view(model, use_running_average=False)
        x, labels = jnp.asarray(expected["x"], dtype), jnp.asarray(expected["labels"], "int32")
        (loss, scores), gradients = training_step(model, x, labels)
    np.testing.assert_allclose(loss, expected["loss"], rtol=TOLERANCE[dtype])
    assert relative_error(scores, expected["scores"]) < TOLERANCE[dtype]
    statistics = nnx.state(model, nnx.BatchStat)
    for key, state in (("statistics", statistics), ("gradients", gradients)):
        leaves = [leaf for _, leaf in nnx.to_flat_state(nnx.as_pure(state))]
        errors = np.abs(SCRIPT.summary(leaves) - expected[key]).max(1) / expected[key][:, 0]
        assert errors.max() < TOLERANCE[dtype], key


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@each_network
def test_inference(name, dtype):
    check_inference(name, load(name), dtype)


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@each_training
def test_training(name, dtype):
    """Batch statistics, the running ones they enter, and every parameter's gradient."""
    check_training(name, load(name), dtype)


@pytest.mark.slow
@each_network
def test_live_twin(name):
    pytest.importorskip("torch")
    check_inference(name, SCRIPT.make(name, seed=1), "float64", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPT.TRAINING)
def test_live_twin_in_training(name):
    pytest.importorskip("torch")
    check_training(name, SCRIPT.make(name, seed=1), "float64", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPT.CASES)
def test_fixtures_can_be_made_again(name):
    pytest.importorskip("torch")
    stored, made = load(name), SCRIPT.make(name)
    assert stored.keys() == made.keys()
    for key, values in stored.items():
        np.testing.assert_allclose(made[key], values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("model_options", "twin_options", "message"),
    [
        ({"width": 2}, {"width": 3}, "kernel is .*make both with the same options"),
        ({"width": 2, "norm": "none"}, {"width": 2}, "nothing for the twin's stem_norm.weight"),
        ({"width": 2, "norm": "group"}, {"width": 2}, "nothing for the twin's stem_norm.running"),
    ],
)
def test_weights_that_do_not_fit_are_refused(model_options, twin_options, message, scrambled):
    pytest.importorskip("torch")
    from experiments.benchmarks import _pytorch

    model = scrambled(lambda: models.ResNet18(rngs=nnx.Rngs(0), **model_options))
    with pytest.raises(ValueError, match=message):
        _pytorch.copy_weights(model, _pytorch.ResNet18(**twin_options))


def test_another_network_is_no_twin(scrambled):
    pytest.importorskip("torch")
    from experiments.benchmarks import _pytorch

    model = scrambled(lambda: models.UNet(width=1, levels=1, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"no counterpart of the model's bottom\.conv1\.bias"):
        _pytorch.copy_weights(model, _pytorch.ResNet18(width=1))
