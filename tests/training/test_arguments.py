"""Wrong arguments are refused with a line that names them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise.schedules import NoiseStage

KEY = jax.random.key(0)


@pytest.fixture
def run(fit, regression):
    """`fit` with some arguments replaced by others."""

    def run(**others):
        args = {
            "key": KEY,
            "train_loss": regression.train_loss,
            "params": regression.params,
            "model_state": (),
            "optimizer": optax.sgd(0.1),
            "data": regression.data,
            "stages": regression.stages,
        }
        return fit(**(args | others))

    return run


def mean_loss(params, model_state, batch, key):
    return jnp.mean((batch["y"] - params["b"]) ** 2), model_state


def column_of_losses(params, model_state, batch, key):
    return (batch["y"] - params["b"])[:, None] ** 2, model_state


def unnamed_loss(params, model_state, batch, key):
    return {"error": batch["y"] - params["b"]}, model_state


def grown_state(params, model_state, batch, key):
    return batch["y"] - params["b"], {"count": 1}


def other_dtype(params, model_state, batch, key):
    return batch["y"] - params["b"], jax.tree.map(lambda x: x.astype(float), model_state)


def other_containers(params, model_state, batch, key):
    return batch["y"] - params["b"], list(model_state)


X, Y = np.ones((7, 3)), np.ones(7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": []}, "stages is empty"),
        ({"stages": NoiseStage(1, 0.1, 8)}, "batch_size 8 exceeds the 7 examples of data"),
        (
            {"stages": [NoiseStage(1, 0.1, 2), NoiseStage(1, 0.1, 9)]},
            "batch_size 9 exceeds the 7 examples",
        ),
        ({"data": {}}, "data is empty"),
        ({"data": {"x": X[:0], "y": Y[:0]}}, "data holds no examples"),
        ({"data": {"x": X, "y": Y[:6]}}, r"same leading example axis, got x \(7, 3\), y \(6,\)"),
        ({"data": {"x": X, "y": 1.0}}, "data: y has no example axis"),
        ({"params": {}}, "params holds no arrays"),
        ({"train_loss": mean_loss}, r"one loss per example, shape \(2,\) here, got \(\)"),
        ({"train_loss": column_of_losses}, r"one loss per example.*got \(2, 1\)"),
        ({"train_loss": unnamed_loss}, "train_loss gave error but no 'loss'"),
        ({"train_loss": grown_state}, "model_state of the same structure"),
        ({"train_loss": other_dtype, "model_state": {"n": 1}}, "model_state of the same structure"),
        ({"train_loss": other_containers, "model_state": (1,)}, "model_state of the same structur"),
        ({"replicas": 0}, "replicas must be at least 1, got 0"),
        ({"replicas": 2, "replica_mode": "pmap"}, "'auto', 'map' or 'vmap', got 'pmap'"),
        ({"replica_mode": "map"}, "replica_mode speak of replicas"),
        ({"stacked": True}, "stacked and replica_mode speak of replicas"),
        ({"replicas": 2, "stacked": True}, "params and model_state: 0/b has no example axis"),
        (
            {"replicas": 2, "stacked": True, "params": {"w": np.ones((3, 3)), "b": np.ones(3)}},
            "stacked params need a leading axis of 2 replicas",
        ),
        (
            {"key": jax.random.split(jax.random.clone(KEY), 2)},
            r"a single key, or one for each replica, got \(2,\)",
        ),
        (
            {"key": jax.random.split(jax.random.clone(KEY), 3), "replicas": 2},
            r"one for each replica, got \(3,\)",
        ),
        ({"test_data": {"x": X, "y": Y}}, "test_data needs evaluate"),
        ({"test_data": {"x": X, "y": Y[1:]}, "evaluate": max}, "test_data: all leaves need"),
        ({"test_data": {}, "evaluate": max}, "test_data is empty"),
        (
            {
                "test_data": {"y": Y},
                "evaluate": lambda params, model_state, batch: jnp.mean(batch["y"]),
            },
            r"evaluate must give one loss per example, shape \(7,\) here, got \(\)",
        ),
    ],
)
def test_values(arguments, message, run):
    with pytest.raises(ValueError, match=message) as caught:
        run(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": 0}, "key must be a typed key"),
        ({"key": jax.random.PRNGKey(0)}, "key must be a typed key: use jax.random.key"),
        ({"optimizer": 0.1}, "optimizer must be an optax transformation"),
        ({"optimizer": lambda schedule: schedule}, "optimizer must be an optax transformation"),
        ({"train_loss": None}, "expected a function, got a NoneType"),
        ({"augment": 1.0}, "expected a function, got a float"),
    ],
)
def test_types(arguments, message, run):
    with pytest.raises(TypeError, match=message):
        run(**arguments)
