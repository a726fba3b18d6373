"""Stages of training and their learning rate by step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.schedules import NoiseStage, stage_schedule

STAGES = [NoiseStage(2, 0.1, 4), NoiseStage(1, 0.05, 7), NoiseStage(1, 0.02, 10)]


def rates_by_hand(stages, num_examples):
    """Walks through every batch of every epoch."""
    rates = []
    for stage in stages:
        for _ in range(stage.epochs):
            left = num_examples
            while left > 0:
                rates.append(np.float32(stage.learning_rate))
                left -= stage.batch_size
    return rates


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    stages=st.lists(
        st.builds(
            NoiseStage,
            epochs=st.integers(1, 3),
            learning_rate=st.floats(0, 10),
            batch_size=st.integers(1, 9),
        ),
        min_size=1,
        max_size=4,
    ),
    num_examples=st.integers(1, 20),
)
def test_learning_rate_of_every_step(stages, num_examples):
    expected = rates_by_hand(stages, num_examples)
    schedule = stage_schedule(stages, num_examples)
    rates = schedule(jnp.arange(250))  # at most 4·3·20 steps
    np.testing.assert_array_equal(rates[: len(expected)], expected)
    np.testing.assert_array_equal(rates[len(expected) :], expected[-1])
    assert len(expected) == sum(s.epochs * s.steps_per_epoch(num_examples) for s in stages)


@pytest.mark.parametrize("count", [0, 5, 6, 8, 99])
def test_schedule_under_jit_and_without(count):
    """6 steps of 0.1, 2 of 0.05, then 0.02."""
    schedule = stage_schedule(STAGES, 10)
    expected = np.float32(0.1 if count < 6 else 0.05 if count < 8 else 0.02)
    assert schedule(count) == expected
    assert schedule(jnp.array(count)) == expected
    assert jax.jit(schedule)(count) == expected
    assert schedule(count).shape == ()


def test_schedule_inside_scan_and_vmap():
    schedule = stage_schedule(STAGES, 10)
    expected = rates_by_hand(STAGES, 10)
    counts = jnp.arange(len(expected))
    np.testing.assert_array_equal(jax.vmap(schedule)(counts), expected)
    _, scanned = jax.lax.scan(lambda carry, count: (carry, schedule(count)), 0, counts)
    np.testing.assert_array_equal(scanned, expected)


def test_learning_rates_may_be_traced():
    """As in a sweep over them, or in the gradient with respect to them."""

    def total(rate):
        stages = [NoiseStage(1, rate, 5), NoiseStage(2, 0.5 * rate, 10)]
        return jnp.sum(stage_schedule(stages, 10)(jnp.arange(4)))

    np.testing.assert_allclose(jax.vmap(total)(jnp.array([1.0, 2.0])), [3.0, 6.0])
    np.testing.assert_allclose(jax.jit(jax.grad(total))(1.0), 3.0)


def test_one_stage_is_constant():
    schedule = stage_schedule([NoiseStage(1, 0.3, 2)], 10)
    np.testing.assert_array_equal(schedule(jnp.arange(12)), np.float32(0.3))


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "steps"),
    [(20, 8, 3), (16, 8, 2), (1, 1, 1), (7, 7, 1), (8, 7, 2), (3, 100, 1)],
)
def test_last_step_of_an_epoch_is_a_full_one(num_examples, batch_size, steps):
    assert NoiseStage(1, 0.1, batch_size).steps_per_epoch(num_examples) == steps


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, "2", None])
def test_counts_are_whole_numbers_of_at_least_one(name, value):
    values = {"epochs": 1, "learning_rate": 0.1, "batch_size": 1} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        NoiseStage(**values)


def test_numpy_integers_are_whole_numbers():
    stage = NoiseStage(np.int64(2), 0.1, np.int32(8))
    assert stage == NoiseStage(2, 0.1, 8)
    assert (type(stage.epochs), type(stage.batch_size)) == (int, int)


def test_stages_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        STAGES[0].epochs = 3


@pytest.mark.parametrize(
    ("stages", "num_examples", "message"),
    [([], 10, "stages is empty"), (STAGES, 0, "num_examples must be at least 1, got 0")],
)
def test_nothing_to_train_on(stages, num_examples, message):
    with pytest.raises(ValueError, match=message):
        stage_schedule(stages, num_examples)


def test_precision_follows_that_of_jax(x64):
    schedule = functools.partial(stage_schedule, [NoiseStage(1, 0.1, 1)])
    assert schedule(1)(0).dtype == jnp.float64
    assert schedule(1)(0) == 0.1
