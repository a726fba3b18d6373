"""Training that goes on from an optimizer's state is training that never stopped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage
from jaxnoise.training._epoch import run_epoch

KEY = jax.random.key(8)
ALL = NoiseStage(2, 0.1, 7)  # one batch of all examples, whose order doesn't matter
close = functools.partial(jax.tree.map, functools.partial(np.testing.assert_allclose, rtol=1e-5))


def square(params, model_state, batch, key):
    return (batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2, model_state


def momentum(schedule):
    return optax.sgd(schedule, momentum=0.9)


def rated(schedule, rate):
    return optax.sgd(rate, momentum=0.9)


@pytest.fixture
def run(regression, fit):
    def run(tx=momentum, stages=ALL, params=regression.params, key=KEY, **options):
        return fit(key, square, params, (), tx, regression.data, stages, **options)

    return run


def test_two_runs_are_one(run):
    first = run()
    second = run(params=first.params, opt_state=first.opt_state)
    whole = run(stages=[ALL, ALL])
    close(second.params, whole.params)
    close(second.opt_state, whole.opt_state)
    np.testing.assert_array_equal(second.history.steps, [1, 2])
    anew = run(params=first.params)
    assert np.abs(anew.params["w"] - whole.params["w"]).max() > 0.01


def test_momentum_goes_on_at_another_rate_and_batch_size(run, regression, steps_by_hand):
    """Two runs by hand, with one buffer."""
    stages = [NoiseStage(1, 0.1, 3), NoiseStage(2, 0.05, 5)]
    keys = jax.random.split(jax.random.clone(KEY))
    result = run(stages=stages[0], key=keys[0])
    result = run(stages=stages[1], key=keys[1], params=result.params, opt_state=result.opt_state)

    w, b = (np.asarray(regression.params[name], np.float64) for name in "wb")
    buffer_w, buffer_b = np.zeros(3), 0.0
    for key, stage in zip(keys, stages, strict=True):
        for _, _, indices, _, _ in steps_by_hand(key, [stage], 7):
            x, y = regression.data["x"][indices], regression.data["y"][indices]
            residual = x @ w + b - y
            buffer_w = 0.9 * buffer_w + 2 * residual @ x / len(y)
            buffer_b = 0.9 * buffer_b + 2 * residual.mean()
            w, b = w - stage.learning_rate * buffer_w, b - stage.learning_rate * buffer_b
    np.testing.assert_allclose(result.params["w"], w, rtol=1e-4)
    np.testing.assert_allclose(result.params["b"], b, rtol=1e-4)


def test_states_are_copied_not_consumed(run):
    first = run()
    kept = jax.tree.map(np.array, first.opt_state)
    second = [run(params=first.params, opt_state=first.opt_state) for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, first.opt_state, kept)
    jax.tree.map(np.testing.assert_array_equal, second[0].params, second[1].params)


def rates_by_hyperparams(run, rate, params, opt_state):
    """The stage's own learning rate is not used, and stays as it is."""
    options = {"hyperparams": {"rate": rate}, "opt_state": opt_state}
    return run(rated, params=params, **options)


INJECTED = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.9)


def rates_by_state(run, rate, params, opt_state):
    opt_state = optax.tree.set(opt_state, learning_rate=rate)
    return run(INJECTED, NoiseStage(2, rate, 7), params, opt_state=opt_state)


@pytest.mark.parametrize(
    ("follow", "tx"), [(rates_by_hyperparams, momentum(0.1)), (rates_by_state, INJECTED)]
)
def test_another_rate_compiles_nothing(follow, tx, run, regression, compilations):
    params = regression.params
    first = follow(run, 0.1, params, tx.init(params))
    second = follow(run, 0.05, first.params, first.opt_state)
    before = run_epoch._cache_size()
    third = []

    def again():
        third.append(follow(run, 0.025, second.params, second.opt_state))
        return third[0].params

    assert compilations(again) == 0
    assert run_epoch._cache_size() == before
    whole = run(stages=[NoiseStage(2, rate, 7) for rate in (0.1, 0.05, 0.025)])
    close(third[0].params, whole.params)


def test_replicas_go_on_by_themselves(run):
    """Each with its own state; and where one state is given for all, from that one."""
    keys = jax.random.split(jax.random.clone(KEY))
    options = {"replicas": 2, "replica_mode": "map", "key": keys}
    stage = NoiseStage(1, 0.1, 3)
    first = run(stages=stage, **options)
    state = {"params": first.params, "opt_state": first.opt_state}
    second = run(stages=stage, stacked=True, **state, **options)
    row = functools.partial(jax.tree.map, lambda x: x[1])
    alone = run(stages=stage, key=keys[1], **row(state))
    jax.tree.map(np.testing.assert_array_equal, row(second.params), alone.params)
    jax.tree.map(np.testing.assert_array_equal, row(second.opt_state), alone.opt_state)
    spread = run(stages=stage, **row(state), **options)
    jax.tree.map(np.testing.assert_array_equal, row(spread.params), alone.params)


def test_keys_in_the_state_go_on(run):
    """The draws of stacked replicas are their own already, and are not folded again."""
    tx = optax.chain(optax.sgd(0.1), jn.transforms.uniform_iterate(jax.random.key(1), period=2))
    first = run(tx, replicas=2)
    state = {"params": first.params, "opt_state": first.opt_state}
    second = run(tx, replicas=2, stacked=True, **state)
    row = functools.partial(jax.tree.map, lambda x: x[0])
    alone = run(tx, key=jax.random.split(jax.random.clone(KEY))[0], **row(state))
    for a, b in zip(*map(jax.tree.leaves, (row(second.opt_state), alone.opt_state)), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_wrong_states(run, regression):
    params = regression.params
    state = momentum(optax.constant_schedule(0.1)).init(params)
    wide = jax.tree.map(lambda p: jnp.ones((2, *p.shape)), state)
    for opt_state, options, message in [
        (optax.adam(0.1).init(params), {}, "opt_state is of another structure"),
        (state[0], {}, "opt_state is of another structure"),
        (wide, {}, r"opt_state: 0/trace/b is float32 \(2,\), the optimizer's is float32 \(\)"),
        (state, {"stages": [ALL, ALL]}, "opt_state has counted steps.*give one stage at a time"),
        (
            state,
            {
                "replicas": 2,
                "stacked": True,
                "params": jax.tree.map(lambda p: jnp.stack([p, p]), params),
            },
            r"opt_state: 0/trace/b is float32 \(\), the optimizer's is float32 \(2,\)",
        ),
        (wide, {"replicas": 2}, r"is float32 \(2, 2\), the optimizer's is float32 \(2,\)"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            run(opt_state=opt_state, **options)
        assert "\n" not in str(caught.value)
    tx = momentum(optax.constant_schedule(0.1))
    run(tx, [ALL, ALL], opt_state=state)  # a ready transformation has no such schedule
