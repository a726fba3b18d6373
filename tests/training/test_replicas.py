"""Several runs in one program are the same runs one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxnoise as jn

KEY = jax.random.key(5)
TX = optax.sgd(0.1, momentum=0.9)  # one object, so that its programs are compiled once


def row(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def replica(result, index):
    """The part of a result that a run on its own would give."""
    history = jn.training.History(
        **{
            name: getattr(result.history, name)
            for name in ("steps", "gradient_queries", "learning_rate", "batch_size", "seconds")
        },
        train=row(result.history.train, index),
        test=row(result.history.test, index),
    )
    trees = row((result.params, result.model_state, result.opt_state), index)
    return jn.training.FitResult(*trees, history)


@pytest.fixture
def network_fit(classification, fit):
    """(key, **options) → result, of a network with dropout and batch normalisation."""
    parts = jn.models.split_train(classification.network(nnx.Rngs(0)), jn.losses.cross_entropy)

    def run(key, params=parts[0], model_state=parts[1], epochs=2, **options):
        stage = jn.schedules.NoiseStage(epochs, 0.1, 4)
        return fit(
            key,
            parts[2],
            params,
            model_state,
            TX,
            classification.train,
            stage,
            test_data=classification.test,
            **options,
        )

    run.start = parts[:2]
    return run


def test_mapped_replicas_are_single_runs_bit_for_bit(network_fit, assert_same_run):
    together = network_fit(KEY, replicas=2)
    assert together.params["dense"]["kernel"].shape == (2, 4, 5)
    assert together.history.train_loss.shape == together.history.test_loss.shape == (2, 2)
    assert together.history.steps.shape == together.history.seconds.shape == (2,)
    np.testing.assert_array_equal(together.history.gradient_queries, [12, 24])
    for index, key in enumerate(jax.random.split(jax.random.clone(KEY), 2)):
        assert_same_run(replica(together, index), network_fit(key))
    assert_same_run(together, network_fit(KEY, replicas=2, replica_mode="map"))


def test_replicas_side_by_side_are_single_runs_up_to_rounding(network_fit):
    """3 steps: 1e-5 of the largest entry for each."""
    together = network_fit(KEY, replicas=2, replica_mode="vmap", epochs=1)
    for index, key in enumerate(jax.random.split(jax.random.clone(KEY), 2)):
        ours, alone = replica(together, index), network_fit(key, epochs=1)
        np.testing.assert_allclose(ours.history.train_loss, alone.history.train_loss, rtol=1e-5)
        for part in ("params", "model_state"):
            pairs = zip(
                *(jax.tree.leaves(getattr(run, part)) for run in (ours, alone)), strict=True
            )
            for a, b in pairs:
                assert np.abs(a - b).max() <= 3e-5 * np.abs(b).max()


@pytest.mark.slow
def test_keys_may_be_given_one_for_each_replica(network_fit, assert_same_run):
    keys = jax.random.split(jax.random.clone(KEY), 2)
    assert_same_run(network_fit(keys, replicas=2), network_fit(KEY, replicas=2))
    swapped = network_fit(keys[::-1], replicas=2)
    assert_same_run(replica(swapped, 0), network_fit(keys[1]))


def test_one_replica_keeps_its_axis(network_fit, assert_same_run):
    (key,) = jax.random.split(jax.random.clone(KEY), 1)
    one = network_fit(KEY, replicas=1)
    assert one.params["dense"]["bias"].shape == (1, 5)
    assert_same_run(replica(one, 0), network_fit(key))


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_stacked_replicas_start_from_their_own_values(mode, network_fit):
    params, model_state = network_fit.start
    twice = functools.partial(jax.tree.map, lambda x: jnp.stack([x, 1.5 * x]))
    start = {"params": twice(params), "model_state": twice(model_state)}
    together = network_fit(KEY, replicas=2, stacked=True, replica_mode=mode, epochs=1, **start)
    for index, key in enumerate(jax.random.split(jax.random.clone(KEY), 2)):
        alone = network_fit(key, epochs=1, **row(start, index))
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            row((together.params, together.model_state), index),
            (alone.params, alone.model_state),
        )
    np.testing.assert_array_equal(start["params"]["dense"]["kernel"][0], params["dense"]["kernel"])


def test_each_replica_has_an_optimizer_key_of_its_own(regression, fit, assert_same_run):
    """Replica i folds its number into the optimizer's key: else all would make the same draws."""
    optimizer_key = jax.random.key(9)

    def run(key, optimizer_key, **options):
        tx = optax.chain(optax.sgd(0.1), jn.transforms.uniform_iterate(optimizer_key, period=2))
        args = (regression.train_loss, regression.params, (), tx, regression.data)
        return fit(key, *args, regression.stages[0], **options)

    together = run(KEY, optimizer_key, replicas=2)
    for index, key in enumerate(jax.random.split(jax.random.clone(KEY), 2)):
        alone = run(key, jax.random.fold_in(optimizer_key, index))
        assert_same_run(replica(together, index), alone)


@pytest.mark.parametrize(
    ("backend", "convolves", "mode"),
    [("cpu", False, "map"), ("cpu", True, "map"), ("gpu", False, "vmap"), ("gpu", True, "map")],
)
def test_replicas_go_side_by_side_on_accelerators_unless_there_are_convolutions(
    backend, convolves, mode, monkeypatch, fit
):
    class Stop(Exception):
        pass

    def run_epoch(*args, mode, **options):
        modes.append(mode)
        raise Stop

    def train_loss(params, model_state, batch, key):
        if convolves:
            batch = jn.models.convolution(
                batch, jnp.ones((1, 1, 1, 1)), (1, 1), "SAME", dimension_numbers=layout
            )
        return jnp.sum(params * batch, axis=(1, 2, 3)), model_state

    modes, layout = [], ("NHWC", "HWIO", "NHWC")
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jn.training._source, "run_epoch", run_epoch)
    stage = jn.schedules.NoiseStage(1, 0.1, 2)
    with pytest.raises(Stop):
        fit(KEY, train_loss, jnp.ones(()), (), TX, np.ones((4, 5, 5, 1)), stage, replicas=2)
    assert modes == [mode]
