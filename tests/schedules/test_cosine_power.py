"""Schedules against stored numbers, ours and those of optax that stand for the paper's others."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.schedules import cosine_power

FIXTURES = Path(__file__).parents[1] / "fixtures" / "schedules"


@jax.jit
def _rates(t, first, steps, power, last):
    """All numbers are arguments of one program."""
    return cosine_power(first, steps, power, last)(t)


@pytest.fixture(params=["50_steps", "200_steps"])
def stored(request):
    return dict(np.load(FIXTURES / f"{request.param}.npz"))


def test_cosine_power(stored, x64):
    first, steps, count = stored["init_value"], stored["num_steps"], stored["count"]
    for i, last in enumerate(stored["end_value"]):
        for j, power in enumerate(stored["power"]):
            rates = _rates(count, first, steps, power, last)
            np.testing.assert_allclose(rates, stored["cosine_power"][i, j], rtol=0, atol=1e-15)


def test_cosine_at_power_one(stored, x64):
    first, steps, count = stored["init_value"], stored["num_steps"], stored["count"]
    for last, expected in zip(stored["end_value"], stored["cosine"], strict=True):
        rates = _rates(count, first, steps, 1.0, last)
        np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-14)


def test_the_others_are_those_of_optax(stored, x64):
    first, steps, count = stored["init_value"], int(stored["num_steps"]), stored["count"]
    last = stored["end_value"]

    def check(schedule, expected):
        np.testing.assert_allclose(schedule(count), expected, rtol=0, atol=1e-14)

    for i, row in enumerate(stored["cosine"]):
        check(optax.cosine_decay_schedule(first, steps, last[i] / first), row)
    for i, j in np.ndindex(*stored["polynomial"].shape[:2]):
        power = stored["polynomial_power"][j]
        check(optax.polynomial_schedule(first, last[i], power, steps), stored["polynomial"][i, j])
    for rate, row in zip(stored["exponential_rate"], stored["exponential"], strict=True):
        check(optax.exponential_decay(first, 1, rate), row)
    for size, factor, row in zip(
        stored["step_size"], stored["step_factor"], stored["step"], strict=True
    ):
        check(optax.exponential_decay(first, int(size), factor, staircase=True), row)


def by_definition(t, first, steps, p, last):
    """In double precision, where p is not near 1."""
    c = (1 + np.cos(np.pi * np.minimum(t, steps) / steps)) / 2
    return last + (first - last) * (p ** (c + 1) - p) / (p**2 - p)


@settings(deadline=None, derandomize=True)
@given(
    first=st.floats(-10, 10, width=32),
    last=st.floats(-10, 10, width=32),
    power=st.floats(0.0078125, 1024, width=32).filter(lambda p: abs(p - 1) > 0.01),
    steps=st.integers(1, 1000),
)
def test_single_precision(first, last, power, steps):
    t = np.linspace(0, 1.2 * steps, 20).astype(int)
    rates = np.asarray(_rates(t, first, steps, power, last))
    expected = by_definition(t, first, steps, power, last)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=3e-6 * max(abs(first), abs(last)))
    np.testing.assert_array_equal(rates[t >= steps], np.float32(last))


@pytest.mark.parametrize("power", [1 - 1e-6, 1 - 1e-7, 1.0, 1 + 1.2e-7, 1 + 1e-6])
def test_powers_near_one_cancel_nothing(power):
    t = np.arange(201)
    cosine = by_definition(t, 1.0, 200, 1 + 1e-6, 0.0)  # within 1e-6 of the cosine
    np.testing.assert_allclose(_rates(t, 1.0, 200, power, 0.0), cosine, rtol=0, atol=2e-6)


def test_the_end_is_approached_to_full_precision():
    """The last rates are small, and so are their errors, so that decay rates are good there."""
    t = np.arange(190, 200)
    rates = cosine_power(0.1, 200, 10.0)(t)
    np.testing.assert_allclose(rates, by_definition(t, 0.1, 200, 10.0, 0.0), rtol=3e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_derivative_by_the_power(power, x64):
    @jax.jit
    def half_way(p):
        return cosine_power(1.0, 10, p)(3)

    h = 1e-5
    slope = (half_way(power + h) - half_way(power - h)) / (2 * h)
    np.testing.assert_allclose(jax.jit(jax.grad(half_way))(power), slope, rtol=1e-6)


def test_sweep_of_powers():
    powers = jnp.array([0.5, 1.0, 2.0])
    rates = jax.jit(jax.vmap(lambda p: cosine_power(1.0, 10, p)(4)))(powers)
    np.testing.assert_allclose(rates, [_rates(4, 1.0, 10, p, 0.0) for p in powers], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0, 2.0), "transition_steps must be positive, got 0"),
        ((1.0, 10, 0.0), "power must be positive, got 0.0"),
        ((1.0, 10, np.nan), "power must be positive, got nan"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cosine_power(*arguments)
