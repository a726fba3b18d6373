"""What the tests of training share: the order of the examples by hand, and small data."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxnoise as jn
from jaxnoise._tree import keys_cloned


def steps_of_epoch(key, epoch, num_examples, batch_size):
    """[(indices, augmentation key, loss key)] of one epoch."""
    order_key, step_key = jax.random.split(jax.random.fold_in(key, epoch))
    order = np.asarray(jax.random.permutation(order_key, num_examples)).tolist()
    num_steps = len(range(0, num_examples, batch_size))
    order += order[: num_steps * batch_size - num_examples]
    steps = []
    for i, step in enumerate(jax.random.split(step_key, num_steps)):
        augment_key, loss_key = jax.random.split(step)
        indices = np.array(order[i * batch_size : (i + 1) * batch_size])
        steps.append((indices, augment_key, loss_key))
    return steps


def all_steps(key, stages, num_examples):
    """[(epoch, stage, indices, augmentation key, loss key)] of a whole run."""
    plan = [stage for stage in stages for _ in range(stage.epochs)]
    return [
        (epoch, stage, *step)
        for epoch, stage in enumerate(plan)
        for step in steps_of_epoch(key, epoch, num_examples, stage.batch_size)
    ]


@pytest.fixture
def steps_by_hand():
    return all_steps


@pytest.fixture
def fit():
    """`jn.training.fit` without a progress bar, for several runs with the same key."""

    def fit(key, *args, **options):
        return jn.training.fit(keys_cloned(key), *args, **{"progress": False} | options)

    return fit


def regression_data(num_examples=7):
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(num_examples, 3)), "y": rng.normal(size=num_examples)}


def noisy_loss(params, model_state, batch, key):
    """Squared errors of a linear map of which the targets are noisy."""
    target = batch["y"] + 0.1 * jax.random.normal(key, batch["y"].shape, batch["y"].dtype)
    return (batch["x"] @ params["w"] + params["b"] - target) ** 2, model_state


@pytest.fixture
def regression():
    """A linear regression: data of 7 examples, train_loss, params, stages."""
    return types.SimpleNamespace(
        data=regression_data(),
        train_loss=noisy_loss,
        params={"w": jnp.array([0.5, -1.0, 2.0]), "b": jnp.array(0.1)},
        stages=[
            jn.schedules.NoiseStage(epochs=2, learning_rate=0.1, batch_size=2),
            jn.schedules.NoiseStage(epochs=1, learning_rate=0.05, batch_size=3),
        ],
    )


class Network(nnx.Module):
    """Batch normalisation and dropout between two dense layers."""

    def __init__(self, rngs, rate=0.5):
        self.dense = nnx.Linear(4, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, momentum=0.9, epsilon=1e-5, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.readout = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.readout(self.dropout(nnx.relu(self.norm(self.dense(x)))))


@pytest.fixture
def classification():
    """A small network, data of 10 training and 5 test examples, stages."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(15, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 15)
    whole = {"image": images, "label": labels}
    return types.SimpleNamespace(
        network=Network,
        train={name: x[:10] for name, x in whole.items()},
        test={name: x[10:] for name, x in whole.items()},
        stages=[
            jn.schedules.NoiseStage(epochs=2, learning_rate=0.1, batch_size=4),
            jn.schedules.NoiseStage(epochs=1, learning_rate=0.03, batch_size=5),
        ],
    )


def raw(tree):
    """NumPy leaves, typed keys as their bits."""

    def plain(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(plain, tree)


@pytest.fixture
def assert_same_run():
    """Two results are equal bit for bit, but for the seconds."""

    def check(a, b):
        assert jax.tree.structure(a.opt_state) == jax.tree.structure(b.opt_state)
        for part in ("params", "model_state", "opt_state", "best"):
            first, second = raw(getattr(a, part)), raw(getattr(b, part))
            jax.tree.map(np.testing.assert_array_equal, first, second)
            assert [x.dtype for x in jax.tree.leaves(first)] == [
                x.dtype for x in jax.tree.leaves(second)
            ]
        for name in ("steps", "gradient_queries", "learning_rate", "batch_size", "train", "test"):
            first, second = getattr(a.history, name), getattr(b.history, name)
            jax.tree.map(np.testing.assert_array_equal, first, second)

    return check
