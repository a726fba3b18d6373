"""The pull, the inner step and the reference weight, each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import transforms

STEPS = 20


@jax.jit
def pulls(path, weight, period, epoch_length):
    """Feeds the params `path` (T, d) with zero gradients; returns the pulls and the anchors."""
    tx = transforms.add_proximal_term(weight, period, epoch_length=epoch_length)

    def step(state, params):
        updates, state = tx.update(jnp.zeros_like(params), state, params)
        return state, (updates, state.anchor)

    return jax.lax.scan(step, tx.init(path[0]), path)[1]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 3.0), st.integers(1, 25), st.integers(1, 25), st.integers(0, 10**6))
def test_anchor_and_pull(weight, period, epoch_length, seed):
    path = np.random.default_rng(seed).normal(size=(STEPS, 3)).astype(np.float32)
    pull, anchor = pulls(path, weight, period, epoch_length)
    steps = np.arange(STEPS)
    k = (steps % epoch_length) % period
    np.testing.assert_array_equal(anchor, path[steps - k])  # the params k steps ago
    np.testing.assert_array_equal(pull[k == 0], 0.0)
    np.testing.assert_allclose(pull, weight * (path - path[steps - k]), rtol=1e-5, atol=1e-6)


def test_no_epoch_is_one_long_row():
    path = np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32)
    tx = transforms.add_proximal_term(0.5, 7)
    state = tx.init(path[0])
    for t in range(STEPS):
        updates, state = tx.update(jnp.ones(3), state, path[t])
        np.testing.assert_allclose(updates, 1 + 0.5 * (path[t] - path[t - t % 7]), rtol=1e-5)
    assert int(state.count) == STEPS


def test_the_pull_of_a_leaf_is_its_own():
    """Splitting, renaming or reordering leaves changes nothing."""
    rng = np.random.default_rng(0)
    path = rng.normal(size=(STEPS, 6)).astype(np.float32)
    tx = transforms.add_proximal_term(0.3, 4)
    whole, parts = tx.init(path[0]), tx.init({"b": path[0, :2], "a": path[0, 2:]})
    for w in path:
        one, whole = tx.update(w**2, whole, w)
        two, parts = tx.update({"b": w[:2] ** 2, "a": w[2:] ** 2}, parts, {"b": w[:2], "a": w[2:]})
        np.testing.assert_array_equal(one, np.concatenate([two["b"], two["a"]]))


def test_weight_by_schedule_sees_the_step_count():
    tx = transforms.add_proximal_term(lambda count: 10.0 * count, period=3)
    state = tx.init(jnp.zeros(()))
    pull = []
    for t in range(6):
        updates, state = tx.update(jnp.zeros(()), state, jnp.asarray(float(t)))
        pull.append(float(updates))
    assert pull == [0.0, 10.0, 40.0, 0.0, 40.0, 100.0]


def test_missing_updates_stay_missing():
    tx = transforms.add_proximal_term(1.0, 2)
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, state = tx.update({"a": jnp.ones(2), "b": None}, tx.init(params), params)
    assert updates["b"] is None
    np.testing.assert_array_equal(state.anchor["b"], params["b"])


def test_the_anchor_is_no_alias_of_the_params():
    params = jnp.ones(3)
    anchor = transforms.add_proximal_term().init(params).anchor
    assert anchor.unsafe_buffer_pointer() != params.unsafe_buffer_pointer()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 25), st.integers(1, 25))
def test_inner_step_divides_by_the_number_of_the_step(period, epoch_length):
    steps = np.arange(STEPS)
    divided = divide(period, epoch_length, jnp.full(STEPS, 6.0))
    np.testing.assert_allclose(divided, 6.0 / ((steps % epoch_length) % period + 1), rtol=1e-6)


@jax.jit
def divide(period, epoch_length, updates):
    tx = transforms.scale_by_inner_step(period, epoch_length=epoch_length)

    def step(state, u):
        u, state = tx.update(u, state)
        return state, u

    return jax.lax.scan(step, tx.init(None), updates)[1]


def test_inner_step_of_a_cycle_longer_than_float16_counts():
    tx = transforms.scale_by_inner_step(period=100_000)
    updates, _ = tx.update(
        jnp.asarray(1000.0, jnp.float16), transforms.InnerStepState(jnp.asarray(79_999))
    )
    assert updates.dtype == jnp.float16
    np.testing.assert_allclose(updates, 1000 / 80_000, rtol=1e-3)


def test_reference_weight_grows_as_the_learning_rate_falls():
    schedule = optax.piecewise_constant_schedule(0.1, {100: 0.1, 150: 0.1})
    weight = transforms.reference_weight(schedule)
    np.testing.assert_allclose([weight(t) for t in (0, 99, 101, 151)], [0.2, 0.2, 2, 20], 1e-5)
    np.testing.assert_allclose(transforms.reference_weight(schedule, 0.5)(101), 10.0, rtol=1e-5)


def test_reference_weight_of_a_constant_and_of_zero():
    np.testing.assert_allclose(transforms.reference_weight(0.3, 0.1)(17), 0.2, rtol=1e-6)
    assert float(transforms.reference_weight(0.0)(3)) == 0.0
    to_zero = transforms.reference_weight(optax.linear_schedule(0.1, 0.0, 10))
    assert float(to_zero(10)) == 0.0
    assert float(to_zero(5)) > 0.0
    warm_up = transforms.reference_weight(optax.linear_schedule(0.0, 0.1, 10))
    assert float(warm_up(5)) == 0.0


def test_reference_weight_is_traceable_and_differentiable():
    def weight(learning_rate, scale):
        return transforms.reference_weight(learning_rate, scale)(jnp.asarray(3))

    assert jax.jit(weight)(0.1, 0.1) == pytest.approx(0.2)
    assert np.all(np.isfinite(jax.grad(weight, (0, 1))(0.0, 0.1)))


@pytest.mark.parametrize(
    "tx",
    [
        transforms.add_proximal_term(0.1, 3, epoch_length=5),
        transforms.add_proximal_term(transforms.reference_weight(0.1), 3),
        transforms.scale_by_inner_step(3, epoch_length=5),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_no_implicit_promotion(tx, dtype):
    params = jnp.ones(3, dtype)
    with jax.numpy_dtype_promotion("strict"):
        updates, _ = tx.update(params, tx.init(params), params)
    assert updates.dtype == dtype


@pytest.mark.parametrize("factory", [transforms.add_proximal_term, transforms.scale_by_inner_step])
def test_wrong_options_raise(factory):
    with pytest.raises(ValueError, match="`period` must be at least 1, got 0"):
        factory(period=0)
    with pytest.raises(ValueError, match="`epoch_length` must be at least 1, got 0"):
        factory(epoch_length=0)
    with pytest.raises(ValueError, match="`period` counts steps: pass an integer"):
        factory(period=True)


def test_missing_params_raise():
    tx = transforms.add_proximal_term()
    with pytest.raises(ValueError, match="requires the current value of the parameters"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
