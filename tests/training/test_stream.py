"""Training from a stream makes the steps that the same data in memory would make."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage
from jaxnoise.training import _stream

KEY = jax.random.key(5)
TX = optax.sgd(0.1, momentum=0.9)
STAGE = NoiseStage(2, 0.1, 2)  # five steps
DATA = {"x": np.linspace(-1.0, 1.0, 9, dtype=np.float32)}
SOME_BYTES = 5 * 4  # of two steps, or five examples, so that the last block is of one, or four


def as_stream(data):
    n = len(next(iter(data.values())))
    return jn.data.Stream(range(n), lambda i: {name: x[i] for name, x in data.items()})


def noisy(w, count, batch, key):
    noise = jax.random.normal(key, batch["x"].shape)
    return {"loss": (batch["x"] + noise - w) ** 2, "x": batch["x"]}, count + 1


def evaluate(w, count, batch):
    return (batch["x"] - w) ** 2


@pytest.fixture
def line(fit):
    """(data, **options) → result of fitting a number to numbers."""

    def run(data, test_data=None, stages=STAGE, **options):
        start = (KEY, noisy, jnp.array(0.5), jnp.array(0), TX)
        options |= {"evaluate": evaluate, "keep_best": None if test_data is None else "loss"}
        return fit(*start, data, stages, test_data=test_data, **options)

    return run


@pytest.fixture
def assert_same_training(assert_same_run):
    """Equal bit for bit but for the recorded means, whose sums are of another order."""

    def check(streamed, resident):
        for part in ("train", "test"):
            first, second = (getattr(r.history, part) for r in (streamed, resident))
            assert first.keys() == second.keys()
            for name, values in first.items():
                np.testing.assert_allclose(values, second[name], rtol=1e-6)
                assert values.dtype == second[name].dtype
            object.__setattr__(streamed.history, part, second)
        if (best := resident.best) is not None:
            np.testing.assert_allclose(streamed.best.value, best.value, rtol=1e-6)
            object.__setattr__(streamed, "best", streamed.best._replace(value=best.value))
        assert_same_run(streamed, resident)

    return check


@pytest.mark.parametrize(
    ("block_bytes", "replicas", "mode"),
    [
        pytest.param(1, None, "auto", marks=pytest.mark.slow),
        (SOME_BYTES, None, "auto"),
        (2 * SOME_BYTES, 2, "map"),
        (2 * SOME_BYTES, 2, "vmap"),
        (10_000, None, "auto"),
    ],
)
def test_stream_trains_as_memory_does(
    block_bytes, replicas, mode, line, monkeypatch, assert_same_training
):
    monkeypatch.setattr(_stream, "_BLOCK_BYTES", block_bytes)
    options = {"replicas": replicas, "replica_mode": mode}
    streamed = line(as_stream(DATA), as_stream(DATA), **options)
    assert_same_training(streamed, line(DATA, DATA, **options))


@pytest.mark.slow
def test_network(classification, fit, monkeypatch, assert_same_training):
    """Dropout, batch normalisation and augmentation, in blocks of two steps and one."""
    monkeypatch.setattr(_stream, "_BLOCK_BYTES", 200)
    model = classification.network(nnx.Rngs(0))
    params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)

    def augment(key, batch):
        noise = jax.random.normal(key, batch["image"].shape)
        return batch | {"image": batch["image"] + 0.1 * noise}

    def run(train):
        start = (KEY, train_loss, params, model_state, TX)
        return fit(*start, train, classification.stages[0], augment=augment)

    assert_same_training(run(as_stream(classification.train)), run(classification.train))


def test_one_program_per_batch_size(line, monkeypatch):
    monkeypatch.setattr(_stream, "_BLOCK_BYTES", SOME_BYTES)
    stages = (STAGE, NoiseStage(1, 0.1, 3))
    programs = _stream._run_block, _stream._sum_block
    for program in programs:
        program.clear_cache()
    for _ in range(2):
        line(as_stream(DATA), as_stream(DATA), stages)
    assert [program._cache_size() for program in programs] == [2, 1]


def test_goes_on_from_a_checkpoint(line, tmp_path, assert_same_run):
    def stop(epoch, *_):
        if epoch == 2:
            raise KeyboardInterrupt

    whole = line(as_stream(DATA))
    with pytest.raises(KeyboardInterrupt):
        line(as_stream(DATA), checkpoint_dir=tmp_path, on_epoch=stop)
    trained = []
    resumed = line(
        as_stream(DATA), checkpoint_dir=tmp_path, on_epoch=lambda epoch, *_: trained.append(epoch)
    )
    assert trained == [2]
    assert_same_run(resumed, whole)


def test_non_finite_loss(line, monkeypatch):
    monkeypatch.setattr(_stream, "_BLOCK_BYTES", SOME_BYTES)
    data = {"x": DATA["x"].copy()}
    data["x"][3] = np.nan
    caught = []
    for given in (data, as_stream(data)):
        with pytest.raises(jn.training.NonFiniteLossError, match="not finite at step") as error:
            line(given)
        caught.append(error.value)
    assert caught[0].step == caught[1].step
    np.testing.assert_array_equal(caught[0].result.params, caught[1].result.params)


def test_reads_a_block_ahead():
    """The next block, no more, is read while one is made use of."""
    begun = [threading.Event() for _ in range(3)]

    class Source:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            begun[index].set()
            return {"x": index}

    batches = _stream._read_ahead(jn.data.Stream(Source()), [np.array([i]) for i in range(3)])
    for i in range(3):
        assert next(batches)["x"] == [i]
        if i < 2:
            assert begun[i + 1].wait(10)
        assert not any(event.is_set() for event in begun[i + 2 :])
    assert next(batches, None) is None


def test_bad_streams(line):
    def broken(i):
        return {"x": 1 / (i - 3)}

    with pytest.raises(ValueError, match="example 3 of the stream cannot be read: ZeroDivision"):
        line(jn.data.Stream(range(9), broken))
    with pytest.raises(ValueError, match="data holds no examples"):
        line(jn.data.Stream([]))
    with pytest.raises(ValueError, match="test_data holds no examples"):
        line(DATA, jn.data.Stream([]))
    with pytest.raises(ValueError, match="batch_size 10 exceeds the 9 examples"):
        line(as_stream(DATA), stages=NoiseStage(1, 0.1, 10))
    with pytest.raises(ValueError, match=r"one loss per example, shape \(2,\) here"):
        line(as_stream({"x": np.ones((9, 2), np.float32)}))
