"""Option II: the draw is uniform over the outer iterates, whatever the cycle."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxnoise import transforms


def outer_iterates(num_steps, period, epoch_length=None):
    """The step counts at which the draw may stop, the final one included, 0 excluded."""
    within = [t % epoch_length if epoch_length else t for t in range(num_steps)]
    return [t for t in range(1, num_steps) if within[t] % period == 0] + [num_steps]


@partial(jax.jit, static_argnums=(1, 2, 3))
def draws(keys, num_steps, period, epoch_length):
    """One draw per key; the params at step t are t itself, so the draw says when it was taken."""

    def draw(key):
        tx = transforms.uniform_iterate(key, period, epoch_length=epoch_length)

        def step(state, t):
            return tx.update(t, state, t)[1], None

        state, _ = jax.lax.scan(step, tx.init(jnp.asarray(0)), jnp.arange(num_steps))
        return transforms.finish_iterate(state, jnp.asarray(num_steps))

    return jax.vmap(draw)(keys)


@pytest.mark.parametrize(
    ("num_steps", "period", "epoch_length"),
    [(12, 3, None), (11, 3, None), (10, 1, None), (18, 3, 7), (9, 20, 4)],
)
def test_draws_are_uniform(num_steps, period, epoch_length):
    keys = jax.random.split(jax.random.key(0), 4000)
    values, counts = np.unique(draws(keys, num_steps, period, epoch_length), return_counts=True)
    assert values.tolist() == outer_iterates(num_steps, period, epoch_length)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_w0_is_returned_only_where_there_is_nothing_else():
    tx = transforms.uniform_iterate(jax.random.key(0), 2)
    state = tx.init(jnp.asarray(0.0))
    assert float(transforms.finish_iterate(state, jnp.asarray(5.0))) == 5.0


def test_updates_pass_through():
    tx = transforms.uniform_iterate(jax.random.key(0))
    updates = {"a": jnp.arange(3.0)}
    passed, _ = tx.update(updates, tx.init(updates), updates)
    assert passed is updates


def train(tx, steps, params):
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    return state, params


def test_finishing_at_an_anchor_is_what_the_next_step_would_keep():
    for seed in range(8):
        tx = transforms.uniform_iterate(jax.random.key(seed), 3)
        state, params = train(tx, 6, jnp.zeros(2))
        _, later = tx.update(params, state, params)
        drawn = transforms.finish_iterate(state, params)
        np.testing.assert_array_equal(drawn, later.iterate)
        np.testing.assert_array_equal(drawn, transforms.finish_iterate(state, params))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.chain(optax.scale(1.0), tx),
        lambda tx: optax.chain(tx, transforms.trsgd(0.1)),
        lambda tx: optax.MultiSteps(tx, 1),
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.partition({"all": tx}, "all"),
    ],
    ids=["chain", "before", "MultiSteps", "apply_if_finite", "partition"],
)
def test_finish_finds_the_draw_in_any_state(wrap):
    tx = wrap(transforms.uniform_iterate(jax.random.key(1), 2))
    with jax.debug_key_reuse(False):  # MultiSteps selects one of a key and the same key
        state, params = train(tx, 5, {"w": jnp.zeros(())})
    draw = optax.tree.get_all_with_path(state, "UniformIterateState")[0][1]
    found = transforms.finish_iterate(state, params)
    np.testing.assert_array_equal(found["w"], transforms.finish_iterate(draw, params)["w"])


def test_masked_leaves_are_the_final_ones():
    tx = optax.masked(transforms.uniform_iterate(jax.random.key(3), 1), {"a": True, "b": False})
    state, params = train(tx, 6, {"a": jnp.zeros(()), "b": {"c": jnp.zeros(())}})
    drawn = transforms.finish_iterate(state, params)
    assert float(drawn["a"]) in range(1, 7)
    assert float(drawn["b"]["c"]) == 6.0


def test_replicas_draw_by_their_own_keys():
    keys = jax.random.split(jax.random.key(5), 16)
    params = jnp.zeros(16)
    state = jax.vmap(lambda key, p: transforms.uniform_iterate(key, 1).init(p))(keys, params)
    update = jax.vmap(transforms.uniform_iterate(jax.random.key(0), 1).update)
    for step in range(1, 9):
        params = jnp.full(16, float(step))
        _, state = update(params, state, params)
    together = jax.vmap(transforms.finish_iterate)(state, jnp.full(16, 9.0))
    assert len(set(together.tolist())) > 3
    for i in range(3):
        tx = transforms.uniform_iterate(keys[i], 1)
        own = tx.init(jnp.zeros(()))
        for step in range(1, 9):
            w = jnp.asarray(float(step))
            _, own = tx.update(w, own, w)
        assert float(transforms.finish_iterate(own, jnp.asarray(9.0))) == together[i]


def test_keys_are_used_once():
    with jax.debug_key_reuse(True):
        tx = transforms.uniform_iterate(jax.random.key(0), 1)
        state, params = jax.jit(lambda p: train(tx, 3, p))(jnp.zeros(2))
        state, params = train(tx, 2, params)
        transforms.finish_iterate(state, params)


def test_no_implicit_promotion():
    with jax.numpy_dtype_promotion("strict"):
        tx = transforms.uniform_iterate(jax.random.key(0), 3, epoch_length=5)
        params = jnp.ones(3, jnp.bfloat16)
        _, state = tx.update(params, tx.init(params), params)
        assert transforms.finish_iterate(state, params).dtype == jnp.bfloat16


def test_wrong_input_raises():
    with pytest.raises(TypeError, match="`key` must be a typed key, got 0"):
        transforms.uniform_iterate(0)
    with pytest.raises(TypeError, match="`key` must be a typed key"):
        transforms.uniform_iterate(jax.random.PRNGKey(0))
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"`key` must be one key, got shape \(2,\)"):
        transforms.uniform_iterate(jax.random.split(key))
    with pytest.raises(ValueError, match="`period` must be at least 1"):
        transforms.uniform_iterate(key, 0)
    tx = transforms.uniform_iterate(key)
    with pytest.raises(ValueError, match="pass `params` when calling `update`"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
    with pytest.raises(ValueError, match="`state` must hold one state of uniform_iterate, found 0"):
        transforms.finish_iterate(optax.sgd(0.1).init(jnp.ones(2)), jnp.ones(2))
    with pytest.raises(ValueError, match="found 2"):
        transforms.finish_iterate((tx.init(jnp.ones(2)),) * 2, jnp.ones(2))
