"""Decay rates, and the region that graduated optimization allows them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.schedules import admissible_decay, admissible_probability, decay_rates


@pytest.mark.parametrize(
    ("schedule", "value"),
    [
        (optax.polynomial_schedule(0.1, 0.0, 0.5, 20), lambda t: 0.1 * (1 - t / 20) ** 0.5),
        (optax.exponential_decay(0.1, 4, 0.5, staircase=True), lambda t: 0.1 * 0.5 ** (t // 4)),
        (optax.constant_schedule(0.1), lambda t: 0.1),
    ],
    ids=["polynomial", "step", "constant"],
)
def test_rates_one_by_one(schedule, value):
    rates = decay_rates(schedule, 20)
    expected = [value(t + 1) / value(t) for t in range(20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_nothing_is_left_to_decay_from_zero():
    rates = decay_rates(optax.linear_schedule(1.0, 0.0, 2), 4)
    np.testing.assert_array_equal(rates, [0.5, 0, np.nan, np.nan])


def test_rates_of_a_traced_schedule():
    def last(factor):
        return decay_rates(lambda t: factor**t, 3)[-1]

    np.testing.assert_allclose(jax.jit(jax.vmap(last))(jnp.array([0.5, 0.9])), [0.5, 0.9])
    np.testing.assert_allclose(jax.grad(last)(0.5), 1.0)


def test_no_steps():
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        decay_rates(optax.constant_schedule(0.1), 0)


@settings(deadline=None, derandomize=True)
@given(a=st.floats(1.0625, 1024, width=32), share=st.floats(0, 1, width=32))
def test_bound_solves_its_quadratic_equation(a, share):
    """γ² − 2γ|cos θ| + 1 − 1/a² = 0, the lower of its roots."""
    a, share = np.float64(a), np.float64(share)
    tangent = np.sqrt(a**2 - 1) / a
    c = tangent + share * (1 - tangent)
    gamma = np.float64(_bound(a, c))
    roots = np.roots([1, -2 * c, 1 - 1 / a**2]).real
    np.testing.assert_allclose(gamma, roots.min(), rtol=0, atol=2e-3)  # √ε at the double root
    if share > 0.01:
        residual = gamma**2 - 2 * gamma * c + 1 - 1 / a**2
        assert abs(residual) < 3e-6 / a**2 + 3e-7
    assert (a - 1) / a - 1e-6 <= gamma <= tangent + 1e-3
    assert gamma == _bound(a, -c)


_bound = jax.jit(admissible_decay)


def test_ends_of_the_region():
    a = np.array([1.5, 2.0, 10.0, 1000.0])
    np.testing.assert_allclose(_bound(a, np.ones(4)), (a - 1) / a, rtol=1e-6)
    tangent = np.sqrt(a**2 - 1) / a
    np.testing.assert_allclose(_bound(a, tangent), tangent, rtol=1e-3)
    assert np.isnan(_bound(a, tangent - 1e-4)).all()
    assert np.isnan(admissible_decay(2.0, 0.0))


def test_tangency_in_double_precision(x64):
    a = np.linspace(1.01, 50, 200)
    tangent = np.sqrt(a**2 - 1) / a
    np.testing.assert_allclose(admissible_decay(a, tangent), tangent, rtol=1e-7)


def test_only_slow_polynomial_decay_stays_admissible():
    """T = 200 and a = 2 with θ = 0, the last step aside; the last step before it is the worst."""
    for power, expected in [(0.1, True), (0.5, True), (0.9, True), (2, False), (8, False)]:
        rates = decay_rates(optax.polynomial_schedule(0.1, 0.0, power, 200), 200)[:-1]
        assert bool((rates > admissible_decay(2.0)).all()) == expected


@pytest.mark.parametrize(("a", "dimension"), [(1.2, 2), (2.0, 3), (1.5, 5)])
def test_probability_is_the_share_of_directions(a, dimension):
    u = np.random.default_rng(0).normal(size=(200_000, dimension))
    cosines = u[:, 0] / np.linalg.norm(u, axis=1)
    share = np.mean(np.isfinite(admissible_decay(a, cosines)))
    np.testing.assert_allclose(admissible_probability(a, dimension), share, rtol=0.02)


def test_probability_in_three_and_in_many_dimensions():
    """On the sphere in three dimensions the cosine is uniform."""
    np.testing.assert_allclose(admissible_probability(2, 3), 1 - np.sqrt(0.75), rtol=1e-12)
    probabilities = admissible_probability(2.0, np.array([3, 100, 1000]))
    np.testing.assert_allclose(probabilities, [0.134, 1.45e-31, 5.44e-303], rtol=1e-2)
    assert admissible_probability(2.0, 1) == 1  # a line has no other direction


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: admissible_decay(1.0), "a must be above 1, got 1.0"),
        (lambda: admissible_decay(np.nan), "a must be above 1, got nan"),
        (lambda: admissible_decay(2.0, 1.1), r"cos_theta must be within \[-1, 1\], got 1.1"),
        (lambda: admissible_probability(0.5, 3), "a must be above 1, got 0.5"),
        (lambda: admissible_probability(2.0, 0), "dimension must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
