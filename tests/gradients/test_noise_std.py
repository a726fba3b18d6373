import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnoise as jn
from jaxnoise.gradients import noise_std, variance_from_critical_batch

pytestmark = pytest.mark.usefixtures("strict_promotion")


def linear(w, batch):
    """A loss whose gradients are the examples themselves."""
    return batch["x"] @ w


@pytest.mark.parametrize("b", [1, 2, 3])
def test_noise_of_all_batches(b):
    """Every batch of b out of 4 examples, with replacement and without."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    c = noise_std(linear, jnp.ones(3), {"x": np.float32(x)})

    def mean_square(batches):
        noise = [x[list(batch)].mean(0) - x.mean(0) for batch in batches]
        return np.mean(np.sum(np.square(noise), axis=1))

    replaced = mean_square(itertools.product(range(4), repeat=b))
    np.testing.assert_allclose(c**2 / b * 3 / 4, replaced, rtol=1e-5)
    distinct = mean_square(itertools.combinations(range(4), b))
    np.testing.assert_allclose(c**2 / b * (1 - b / 4), distinct, rtol=1e-5)


def test_chunks_change_nothing(dense):
    np.testing.assert_allclose(noise_std(*dense, chunk_size=4), noise_std(*dense), rtol=1e-5)


def test_one_example_has_no_variance():
    with pytest.raises(ValueError, match="at least two examples"):
        noise_std(linear, jnp.ones(3), {"x": np.ones((1, 3), np.float32)})


# The paper's appendix C

RATES = np.array([0.01, 0.05, 0.1, 0.5])
EPSILONS = np.array([1.0, 0.5, 0.5, 0.5])
BATCHES = np.array([12800, 1280, 1280, 256])


def test_table_of_the_paper():
    variances = variance_from_critical_batch(BATCHES, EPSILONS, RATES)
    np.testing.assert_allclose(variances, [1_280_000, 6_400, 3_200, 128], rtol=1e-6)
    degrees = jn.schedules.degree_of_smoothing(RATES, 128, jnp.sqrt(variances))
    np.testing.assert_allclose(degrees, [1.0, 0.354, 0.5, 0.5], rtol=2e-3)


def test_small_steps_at_unit_smoothness_give_the_form_of_the_paper():
    paper = variance_from_critical_batch(64, 0.1, 1e-4)
    ours = variance_from_critical_batch(64, 0.1, 1e-4, smoothness=1.0)
    np.testing.assert_allclose(ours, paper, rtol=1e-4)


@pytest.mark.parametrize(("eta", "smoothness"), [(0.01, 5.0), (0.3, 2.0), (0.1, 19.0)])
def test_the_batch_with_the_fewest_gradients_gives_the_variance_back(eta, smoothness):
    """Steps until 2·gap/(η(2−Lη)K) + LηC²/((2−Lη)b) ≤ ε², at each batch size."""
    variance, epsilon, gap = 40.0, 0.1, 3.0
    b = np.arange(1, 2_000_000, dtype=float)
    noise = smoothness * eta * variance / ((2 - smoothness * eta) * b)
    steps = 2 * gap / (eta * (2 - smoothness * eta)) / (epsilon**2 - noise)
    critical = b[np.argmin(np.where(steps > 0, steps * b, np.inf))]
    found = variance_from_critical_batch(critical, epsilon, eta, smoothness)
    np.testing.assert_allclose(found, variance, rtol=5e-3)


def test_parameters_in_other_units():
    """w in units of 1/10: gradients shrink tenfold, η grows and L shrinks a hundredfold."""
    one = variance_from_critical_batch(64, 0.1, 0.5, smoothness=2.0)
    other = variance_from_critical_batch(64, 0.01, 50.0, smoothness=0.02)
    np.testing.assert_allclose(other, one / 100, rtol=1e-5)


def test_traced_values():
    compiled = jax.jit(variance_from_critical_batch)(256.0, 0.5, 0.5, 2.0)
    np.testing.assert_allclose(compiled, 32.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 0.1, 0.1), "batch_size must be positive, got 0"),
        ((8, -0.1, 0.1), "epsilon must be positive"),
        ((8, 0.1, [0.1, np.nan]), "learning_rate must be positive"),
        ((8, 0.1, 0.1, 0.0), "smoothness must be positive"),
        ((8, 0.1, 0.1, 20.0), "must be below 2"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        variance_from_critical_batch(*values)
