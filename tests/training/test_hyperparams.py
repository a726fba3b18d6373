"""Hyper-parameters by replica: a sweep in one program is its runs one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage
from jaxnoise.training._epoch import run_epoch

KEY = jax.random.key(6)
STAGES = [NoiseStage(2, 0.1, 2)]
SWEEP = {"factor": [1.0, 0.3, 0.5], "weight": [0.1, 0.0, 1.0], "period": [3, 1, 4]}
VALUES = [dict(zip(SWEEP, values, strict=True)) for values in zip(*SWEEP.values(), strict=True)]


def optimizer(schedule, *, factor, weight, period):
    return jn.transforms.trsgd(lambda t: factor * schedule(t), weight=weight, period=period)


@pytest.fixture
def run(regression, fit):
    """`fit` of the linear regression with the optimizer above."""

    def run(key=KEY, tx=optimizer, stages=STAGES, params=regression.params, **options):
        return fit(key, regression.train_loss, params, (), tx, regression.data, stages, **options)

    return run


def row(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@functools.cache
def keys():
    return jax.random.split(jax.random.clone(KEY), 3)


@pytest.fixture
def mapped(run):
    return run(replicas=3, replica_mode="map", hyperparams=SWEEP)


def is_replica(mapped, index, alone):
    assert_equal(row(mapped.params, index), alone.params)
    assert_equal(row(mapped.opt_state, index), alone.opt_state)
    assert_equal(mapped.history.train_loss[index], alone.history.train_loss)


def test_mapped_sweep_is_its_runs_bit_for_bit(run, mapped):
    for index, values in enumerate(VALUES):
        is_replica(mapped, index, run(keys()[index], hyperparams=values))


@pytest.mark.parametrize("index", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_trsgd_with_numbers_in_the_program_is_the_same_bit_for_bit(index, run, mapped):
    tx = functools.partial(optimizer, **VALUES[index])
    is_replica(mapped, index, run(keys()[index], tx))


def test_sweep_side_by_side_is_the_mapped_one_up_to_rounding(run, mapped):
    """8 steps: 1e-5 of the largest entry for each."""
    vmapped = run(replicas=3, replica_mode="vmap", hyperparams=SWEEP)
    np.testing.assert_allclose(vmapped.history.train_loss, mapped.history.train_loss, rtol=8e-5)
    for a, b in zip(*map(jax.tree.leaves, (vmapped.params, mapped.params)), strict=True):
        assert np.abs(a - b).max() <= 8e-5 * np.abs(b).max()


def test_adam_with_numbers_in_the_program_is_the_same_up_to_rounding(run):
    """Python takes 1 − β in double precision, an array in single."""

    def tx(schedule, b1, b2):
        return jn.transforms.tradam(schedule, b1, b2, period=3)

    values = {"b1": 0.8, "b2": 0.99}
    traced = run(tx=tx, hyperparams=values)
    written = run(tx=functools.partial(tx, **values))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5), traced.params, written.params
    )


def test_a_number_promotes_as_an_array_does(run):
    """Python's 0.3 would leave products with bfloat16 params in that precision."""

    def tx(schedule, weight):
        kinds.append(jax.typeof(weight))
        return optax.sgd(weight)

    kinds = []
    run(tx=tx, hyperparams={"weight": 0.3})
    assert {(kind.dtype, kind.weak_type) for kind in kinds} == {(jnp.dtype(jnp.float32), False)}


def test_other_values_compile_nothing(run, compilations):
    def values(scale):
        return {name: jnp.asarray(value) * scale for name, value in SWEEP.items()}

    first, second = values(1), values(2)
    run(replicas=3, hyperparams=first)
    before = run_epoch._cache_size()
    assert compilations(lambda: run(replicas=3, hyperparams=second).params) == 0
    assert run_epoch._cache_size() == before


@pytest.mark.parametrize("learning_rate", [0.1, jnp.array(0.1)], ids=["number", "array"])
def test_same_function_and_stages_share_a_program(learning_rate, run):
    """Where the learning rates are arrays, equality is unknown and each run has its own."""

    def tx(schedule):
        return optax.sgd(schedule)

    before = run_epoch._cache_size()
    first = run(tx=tx, stages=[NoiseStage(1, learning_rate, 7)])
    second = run(tx=tx, stages=[NoiseStage(1, learning_rate, 7)])
    assert_equal(first.params, second.params)
    assert run_epoch._cache_size() == before + (1 if isinstance(learning_rate, float) else 2)


def remembering(schedule, start):
    """SGD whose state begins with a value and counts up."""

    def init(params):
        return {"value": start, "kept": jax.tree.map(lambda p: start * p, params)}

    def update(updates, state, params=None):
        return jax.tree.map(lambda g: -0.01 * g, updates), state | {"value": state["value"] + 1}

    return optax.GradientTransformation(init, update)


def test_initial_state_may_depend_on_the_values(run, regression):
    state = run(tx=remembering, replicas=2, hyperparams={"start": [1.0, 5.0]}).opt_state
    np.testing.assert_array_equal(state["value"], [9, 13])
    w = regression.params["w"]
    np.testing.assert_array_equal(state["kept"]["w"], [w, 5 * w])


def test_tables_of_values(run):
    """Each replica has the learning rates of its own row, here one for each epoch of 4 steps."""

    def tx(schedule, rates):
        return optax.sgd(lambda count: rates[count // 4])

    def alone(rates):
        stages = [NoiseStage(1, rate, 2) for rate in rates]
        return run(keys()[1], tx=optax.sgd, stages=stages)

    rates = np.array([[0.1, 0.2], [0.3, 0.1], [0.1, 0.1]], np.float32)
    swept = run(tx=tx, replicas=3, replica_mode="map", hyperparams={"rates": rates})
    assert_equal(row(swept.params, 1), alone(rates[1].tolist()).params)
    one = run(keys()[1], tx=tx, hyperparams={"rates": rates[1]})
    assert_equal(row(swept.params, 1), one.params)


def test_checkpoints_of_other_values_are_refused(run, tmp_path):
    run(hyperparams=VALUES[0], checkpoint_dir=tmp_path)
    other = VALUES[0] | {"weight": 0.2}
    with pytest.raises(ValueError, match=r"is of another run \(hyperparams differ\)"):
        run(hyperparams=other, checkpoint_dir=tmp_path)


def test_players_have_their_own(fit, regression):
    """A player that is left out has none, and may be a ready transformation."""

    def loss(params, model_state, batch, key):
        return (params["a"] + params["b"] - batch["y"]) ** 2, model_state

    def sgd(schedule, factor):
        return optax.sgd(lambda t: factor * schedule(t))

    def play(key, a, **options):
        optimizers = {"a": a, "b": optax.sgd(0.05)}
        start = {"a": jnp.array(0.2), "b": jnp.array(0.1)}
        args = ({"a": loss, "b": loss}, start, (), optimizers, regression.data, STAGES)
        return fit(key, *args, **options).params

    factors = {"factor": [0.5, 2.0]}
    swept = play(KEY, sgd, replicas=2, hyperparams={"a": factors}, replica_mode="map")
    key = jax.random.split(jax.random.clone(KEY), 2)[1]
    assert_equal(row(swept, 1), play(key, functools.partial(sgd, factor=2.0)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"hyperparams": SWEEP, "replicas": 2},
            ValueError,
            r"one value for each of 2 replicas, shape \(2, …\): factor has \(3,\)",
        ),
        ({"hyperparams": VALUES[0], "replicas": 3}, ValueError, r"factor has \(\)"),
        (
            {"hyperparams": SWEEP | {"period": [1, 0, 2]}, "replicas": 3},
            ValueError,
            "`period` must be at least 1, got 0",
        ),
        (
            {"hyperparams": {"rate": 0.1}, "tx": optax.sgd(0.1)},
            TypeError,
            "need a function as optimizer, .*got a ready transformation",
        ),
        (
            {"hyperparams": VALUES[0] | {"size": 1.0}},
            TypeError,
            "hyperparams don't suit optimizer.*unexpected keyword argument 'size'",
        ),
        ({"hyperparams": {"weight": 0.1}}, TypeError, "missing a required .*'factor'"),
        ({"hyperparams": 0.1}, TypeError, "hyperparams must be a dict of values by name, got 0.1"),
    ],
)
def test_wrong_arguments(options, error, message, run):
    with pytest.raises(error, match=message) as caught:
        run(**options)
    assert "\n" not in str(caught.value)


def test_unknown_player(fit, regression):
    def loss(params, model_state, batch, key):
        return (params["a"] - batch["y"]) ** 2, model_state

    args = (KEY, {"a": loss}, {"a": jnp.zeros(())}, (), {"a": optax.sgd}, regression.data, STAGES)
    with pytest.raises(ValueError, match=r"hyperparams must be by player \(a\), got momentum"):
        fit(*args, hyperparams={"momentum": 0.9})
