"""The hook after every epoch."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise.schedules import NoiseStage

DATA = np.linspace(-1.0, 1.0, 5, dtype=np.float32)
SGD = optax.sgd(0.1)


def train_loss(params, count, batch, key):
    return (batch - params["w"]) ** 2, count + 1


@pytest.fixture
def seen(fit):
    """Trains for some epochs and gives the result and what the hook was given."""

    def run(epochs, **options):
        calls = []
        params, stages = {"w": jnp.array(0.5)}, [NoiseStage(epochs, 0.1, 2)]
        result = fit(
            jax.random.key(0), train_loss, params, jnp.array(0), SGD, DATA, stages,
            on_epoch=lambda *args: calls.append(args), **options,
        )  # fmt: skip
        return result, calls

    return run


@pytest.mark.parametrize("replicas", [None, 2])
def test_sees_the_values_after_each_epoch_for_good(replicas, seen):
    result, calls = seen(3, replicas=replicas)
    assert [epoch for epoch, *_ in calls] == [1, 2, 3]
    for epoch, params, count, _ in calls:
        shorter, _ = seen(epoch, replicas=replicas)
        np.testing.assert_array_equal(params["w"], shorter.params["w"])
        np.testing.assert_array_equal(count, np.broadcast_to(3 * epoch, np.shape(count)))
    assert np.shape(calls[0][1]["w"]) == (() if replicas is None else (replicas,))
    assert not calls[-1][1]["w"].is_deleted()
    np.testing.assert_array_equal(calls[-1][1]["w"], result.params["w"])


@pytest.mark.parametrize("replicas", [None, 2])
def test_is_given_a_copy_of_the_epochs_record(replicas, seen):
    def evaluate(params, count, batch):
        return {"size": jnp.abs(batch - params["w"])}

    result, calls = seen(2, replicas=replicas, test_data=DATA, evaluate=evaluate)
    history = result.history
    for index, (*_, record) in enumerate(calls):
        assert set(record) == {"steps", "learning_rate", "batch_size", "seconds", "train", "test"}
        for name in ("steps", "learning_rate", "batch_size", "seconds"):
            assert record[name] == getattr(history, name)[index]
        assert list(record["train"]) == ["loss"]
        assert record["train"]["loss"] == history.train_loss[..., index].tolist()
        assert record["test"]["size"] == history.test["size"][..., index].tolist()
        record["train"]["loss"] = record["steps"] = "changed"
    assert history.steps.tolist() == [3, 6]
    assert len(json.dumps(calls[0][3])) > 0


def test_after_resuming_sees_later_epochs_alone(seen, fit, tmp_path):
    def interrupt(epoch, params, model_state, record):
        if epoch == 2:
            raise KeyboardInterrupt

    args = (jax.random.key(0), train_loss, {"w": jnp.array(0.5)}, jnp.array(0), SGD, DATA)
    with pytest.raises(KeyboardInterrupt):
        fit(*args, [NoiseStage(3, 0.1, 2)], on_epoch=interrupt, checkpoint_dir=tmp_path)
    _, calls = seen(3, checkpoint_dir=tmp_path)
    assert [epoch for epoch, *_ in calls] == [2, 3]
    _, calls = seen(3, checkpoint_dir=tmp_path)
    assert calls == []
