"""The parameters after the best epoch, against those seen along the way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise.schedules import NoiseStage

KEY = jax.random.key(0)
STAGES = (NoiseStage(5, 0.2, 4), NoiseStage(3, 0.1, 8))
DATA = {"x": np.random.default_rng(0).normal(1, 1, 16).astype(np.float32)}
TEST = {"x": np.full(3, 0.5, np.float32)}  # on the way from 0 to 1, so that it is passed


def train_loss(params, count, batch, key):
    noise = jax.random.normal(key, batch["x"].shape)
    return (batch["x"] + noise - params["w"]) ** 2, count + 1


def evaluate(params, count, batch):
    error = jnp.abs(params["w"] - batch["x"])
    return {"loss": error, "score": 1 - error, "ill": error * jnp.nan}


@pytest.fixture
def train(fit):
    def train(**options):
        seen = []
        options = {"test_data": TEST, "evaluate": evaluate, "keep_best": "loss"} | options
        options |= {"on_epoch": lambda *epoch: seen.append(epoch)}
        start = {"w": jnp.array(0.0)}
        args = (train_loss, start, jnp.array(0), optax.sgd, DATA, STAGES)
        return fit(KEY, *args, **options), seen

    return train


def assert_best(best, seen, index, replica=()):
    epoch, params, count, record = seen[index]
    assert int(best.epoch[replica]) == epoch
    assert float(best.params["w"][replica]) == params["w"][replica]
    assert int(best.model_state[replica]) == count[replica]
    assert float(best.value[replica]) == np.asarray(record["test"]["loss"])[replica]


@pytest.mark.parametrize("metric", ["loss", "score"])
def test_least_loss_or_greatest_score(train, metric):
    result, seen = train(keep_best=metric)
    losses = [record["test"]["loss"] for *_, record in seen]
    index = int(np.argmin(losses))
    assert 0 < index < 7  # neither the first nor the last
    best = result.best if metric == "loss" else result.best._replace(value=1 - result.best.value)
    np.testing.assert_allclose(best.value, min(losses), rtol=1e-5)
    assert_best(best._replace(value=jnp.float32(losses[index])), seen, index)


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_each_replica_has_its_own(train, mode):
    result, seen = train(replicas=3, replica_mode=mode)
    losses = np.array([record["test"]["loss"] for *_, record in seen])
    indices = losses.argmin(axis=0)
    assert len(set(indices)) > 1
    for replica, index in enumerate(indices):
        assert_best(result.best, seen, index, replica)


def test_metrics_that_are_no_numbers_are_never_the_best(train):
    result, _ = train(keep_best="ill")
    assert (int(result.best.epoch), float(result.best.params["w"])) == (0, 0)
    assert np.isneginf(result.best.value)


def test_first_of_equals(train):
    constant = lambda params, count, batch: {"loss": 0 * batch["x"]}  # noqa: E731
    result, seen = train(evaluate=constant)
    assert_best(result.best, seen, 0)


def test_nothing_is_kept_unasked(train):
    assert train(keep_best=None)[0].best is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_data": None}, "keep_best needs test_data"),
        ({"keep_best": "accuracy"}, r"a metric of the test data \(ill, loss, score\), got 'acc"),
        ({"keep_best": True, "replicas": 2}, r"a metric of the test data \(.*\), got True"),
    ],
    ids=str,
)
def test_what_cannot_be_kept(train, options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)
