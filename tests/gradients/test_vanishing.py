import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.gradients import VanishingGradients, vanishing

pytestmark = pytest.mark.usefixtures("strict_promotion")

# Quarters up to 2¹⁰ are added exactly in single precision, whatever the order.
NORMS = st.lists(st.integers(0, 4096).map(lambda i: i / 4), min_size=8, max_size=8)
TAUS = st.lists(st.integers(0, 4400).map(lambda i: i / 4), min_size=3, max_size=3)


def slow(norms, tau):
    left = [norm for norm in norms if norm > tau]
    return 1 - len(left) / len(norms), sum(left) / len(left) if left else 0.0


@settings(deadline=None)
@given(NORMS, TAUS)
def test_slow_twin(norms, taus):
    result = vanishing(jnp.array(norms), taus)
    for i, tau in enumerate(taus):
        expected = slow(norms, tau)
        np.testing.assert_allclose((result.fraction[i], result.tail_mean[i]), expected, rtol=1e-6)


@settings(deadline=None)
@given(NORMS, TAUS)
def test_the_mean_is_bounded(norms, taus):
    """E‖g‖² ≤ p_τ τ + (1 − p_τ) M_τ"""
    result = vanishing(jnp.array(norms), taus)
    bound = result.fraction * result.tau + (1 - result.fraction) * result.tail_mean
    assert np.all(np.mean(norms) <= bound * (1 + 1e-6))


@settings(deadline=None)
@given(NORMS, TAUS)
def test_larger_thresholds_leave_fewer_and_larger_ones(norms, taus):
    result = vanishing(jnp.array(norms), sorted(taus))
    assert np.all(np.diff(result.fraction) >= 0)
    left = result.tail_mean[result.fraction < 1]
    assert np.all(np.diff(left) >= -1e-6 * left[1:])
    np.testing.assert_array_equal(result.tail_mean[result.fraction == 1], 0)


def test_random_norms_in_double_precision(x64):
    norms = 10.0 ** np.random.default_rng(0).normal(-3, 3, size=1000)
    taus = np.array([1e-8, 1e-6, 1e-4, 1e-2, 1.0])
    result = vanishing(norms, taus)
    expected = np.array([slow(norms, tau) for tau in taus]).T
    np.testing.assert_allclose(result.fraction, expected[0], rtol=1e-12)
    np.testing.assert_allclose(result.tail_mean, expected[1], rtol=1e-12)


def test_a_norm_at_the_threshold_has_vanished():
    result = vanishing(jnp.array([1.0, 2.0]), 1.0)
    assert (result.fraction, result.tail_mean) == (0.5, 2.0)


def test_zero_threshold_counts_exact_zeros():
    result = vanishing(jnp.array([0.0, 0.0, 3.0]), 0)
    np.testing.assert_allclose((result.fraction, result.tail_mean), (2 / 3, 3.0), rtol=1e-6)


@pytest.mark.parametrize("tau", [5, 5.0, np.inf])
def test_nothing_left(tau):
    result = vanishing(jnp.array([1.0, 2.0]), tau)
    assert (result.fraction, result.tail_mean) == (1.0, 0.0)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3)])
def test_results_are_shaped_like_the_thresholds(shape):
    result = vanishing(jnp.array([1.0, 2.0]), np.ones(shape))
    assert {leaf.shape for leaf in jax.tree.leaves(result)} == {shape}


def test_integers():
    result = vanishing([0, 3, 4], 1)
    np.testing.assert_allclose((result.fraction, result.tail_mean), (1 / 3, 3.5), rtol=1e-6)


def test_under_jit_and_vmap():
    norms = jnp.array([[0.0, 4.0], [2.0, 6.0]])
    result = jax.jit(jax.vmap(lambda row: vanishing(row, jnp.array([1.0, 3.0]))))(norms)
    np.testing.assert_array_equal(result.fraction, [[0.5, 0.5], [0.0, 0.5]])
    np.testing.assert_array_equal(result.tail_mean, [[4.0, 4.0], [4.0, 6.0]])


def test_results_are_saved_and_loaded(tmp_path):
    result = vanishing(jnp.array([0.1, 2.0]), [0.5, 1.0])
    result.save(tmp_path / "vanishing.npz")
    loaded = VanishingGradients.load(tmp_path / "vanishing.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, result)


@pytest.mark.parametrize(
    ("norms", "tau", "message"),
    [
        (np.zeros(0), 1.0, r"shape \(n,\) with n ≥ 1, got \(0,\)"),
        (1.0, 1.0, r"shape \(n,\) with n ≥ 1, got \(\)"),
        (np.ones((2, 2)), 1.0, r"got \(2, 2\)"),
        ([1.0, -1.0], 1.0, "negative or not finite"),
        ([1.0, np.nan], 1.0, "negative or not finite"),
        ([1.0, np.inf], 1.0, "negative or not finite"),
        ([1.0], -0.1, "tau must be at least 0"),
        ([1.0], [1.0, np.nan], "tau must be at least 0"),
    ],
)
def test_wrong_input(norms, tau, message):
    with pytest.raises(ValueError, match=message):
        vanishing(np.asarray(norms), tau)
