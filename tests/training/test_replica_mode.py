"""Which way of running replicas is taken, and that a run keeps to it."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise.schedules import NoiseStage
from jaxnoise.training import _fit, _replicas

KEY = jax.random.key(8)
TX = optax.sgd(0.1, momentum=0.9)


@pytest.fixture
def run(regression, fit):
    """`fit` of the linear regression, 12 steps for each replica."""

    def run(**options):
        stages = [NoiseStage(3, 0.1, 2)]
        args = (regression.train_loss, regression.params, (), TX, regression.data, stages)
        return fit(KEY, *args, **options)

    return run


@pytest.fixture
def timed(monkeypatch):
    """Has the modes timed, or taken for timed with a given outcome."""

    def set_up(outcome=None):
        monkeypatch.setattr(_replicas, "_FEWEST_STEPS", 0)
        if outcome is not None:
            monkeypatch.setattr(_fit, "faster_mode", lambda *args: outcome)

    return set_up


@pytest.mark.parametrize(
    ("epochs", "batch_size", "replicas", "expected"),
    [(100, 1, 10, True), (99, 1, 10, False), (200, 2, 10, True), (10_000, 1, 1, False)],
)
def test_timing_is_for_long_training(epochs, batch_size, replicas, expected):
    plan = [NoiseStage(1, 0.1, batch_size)] * epochs
    assert _replicas.is_worth_timing(plan, 100, replicas) == expected


class Program:
    """Takes as many seconds as it is told, more on its first call, and consumes its state."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.calls = 0.0, seconds, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def __call__(self, state, data, keys, hyperparams, *, batch_size, mode):
        assert len(data) == 8 * batch_size
        jax.tree.map(lambda x: x.delete(), state)
        if self.seconds[mode] is None:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        self.now += self.seconds[mode] + (0 if mode in self.calls else 9 * (mode == "vmap"))
        self.calls.append(mode)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"map": 2.0, "vmap": 1.0}, "vmap"),
        ({"map": 1.0, "vmap": 2.0}, "map"),
        ({"map": 1.0, "vmap": 1.0}, "map"),
        ({"map": 5.0, "vmap": None}, "map"),
    ],
)
def test_the_faster_mode_wins(seconds, expected, monkeypatch):
    """Compilation doesn't count; running out of memory is no error."""
    program, state = Program(monkeypatch, seconds), {"w": jnp.ones(2)}
    keys = jax.random.split(jax.random.clone(KEY), 2)
    assert _replicas.faster_mode(program, state, jnp.ones(100), keys, {}, 5) == expected
    assert not state["w"].is_deleted()


def test_timing_leaves_no_trace_in_the_result(run, timed, assert_same_run):
    timed()
    chosen = run(replicas=2)
    assert chosen.replica_mode in ("map", "vmap")
    assert_same_run(chosen, run(replicas=2, replica_mode=chosen.replica_mode))


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_resumed_run_keeps_its_mode(mode, run, timed, tmp_path, assert_same_run):
    def stop(epoch, *args):
        if epoch == 2:
            raise KeyboardInterrupt

    timed(mode)
    with pytest.raises(KeyboardInterrupt):
        run(replicas=2, checkpoint_dir=tmp_path, on_epoch=stop)
    other = {"map": "vmap", "vmap": "map"}[mode]
    timed(other)
    with pytest.raises(ValueError, match=r"is of another run \(replica_mode differ\)"):
        run(replicas=2, checkpoint_dir=tmp_path, replica_mode=other)
    resumed = run(replicas=2, checkpoint_dir=tmp_path)
    assert resumed.replica_mode == mode
    assert_same_run(resumed, run(replicas=2, replica_mode=mode))


def test_result_says_how_its_replicas_ran(run):
    assert run().replica_mode is None
    one = run(replicas=2)
    assert one.replica_mode == "map"
    assert jax.tree.map(np.asarray, one).replica_mode == "map"
