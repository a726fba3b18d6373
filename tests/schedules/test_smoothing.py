"""The degree to which noise smooths the loss."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise.schedules import degree_of_smoothing

POSITIVE = st.floats(1e-3, 1e3)


@settings(deadline=None)
@given(POSITIVE, st.integers(1, 10_000), POSITIVE)
def test_half_the_learning_rate_is_four_times_the_batch(rate, batch_size, noise_std):
    degree = degree_of_smoothing(rate, batch_size, noise_std)
    np.testing.assert_allclose(degree, rate * noise_std / np.sqrt(batch_size), rtol=1e-6)
    slower = degree_of_smoothing(rate / 2, batch_size, noise_std)
    np.testing.assert_allclose(degree_of_smoothing(rate, 4 * batch_size, noise_std), slower, 1e-6)


def test_a_quadratic_is_lifted_by_half_the_square():
    """½‖y − ηω‖² over all batches of 2 out of 4 gradients, each equally likely."""
    gradients = np.random.default_rng(0).normal(size=(4, 3))
    gradients -= gradients.mean(0)
    noise_std = np.sqrt(np.mean(np.sum(gradients**2, axis=1)))
    y, eta = np.array([1.0, -2.0, 0.5]), 0.3
    batches = itertools.product(gradients, repeat=2)
    steps = np.array([y - eta * np.mean(batch, axis=0) for batch in batches])
    lift = np.mean(0.5 * np.sum(steps**2, axis=1)) - 0.5 * y @ y
    np.testing.assert_allclose(lift, degree_of_smoothing(eta, 2, noise_std) ** 2 / 2, rtol=1e-5)


def test_arrays_are_broadcast():
    rates, batches = np.array([0.1, 0.2]), np.array([[1], [4], [16]])
    degrees = degree_of_smoothing(rates, batches, 10.0)
    np.testing.assert_allclose(degrees, [[1, 2], [0.5, 1], [0.25, 0.5]], rtol=1e-6)


def test_under_jit_vmap_and_grad():
    np.testing.assert_allclose(jax.jit(degree_of_smoothing)(0.5, 64, 4.0), 0.25)
    rates = jnp.array([0.5, 1.0])
    mapped = jax.vmap(lambda rate: degree_of_smoothing(rate, 64, 4.0))(rates)
    np.testing.assert_allclose(mapped, [0.25, 0.5])
    np.testing.assert_allclose(jax.grad(degree_of_smoothing)(0.5, 64, 4.0), 0.5)


@pytest.mark.parametrize("batch_size", [0, -8, np.array([8, 0]), np.nan])
def test_batch_size_must_be_positive(batch_size):
    with pytest.raises(ValueError, match="batch_size must be positive"):
        degree_of_smoothing(0.1, batch_size, 1.0)


# Measured: batches drawn with replacement


@jax.jit
def rms_steps(key, gradients, rates):
    """Rms of ηω for each rate over 20,000 batches of 4 and of 16, (2, len(rates))."""

    def mean_square(key, size):
        drawn = jax.random.randint(key, (20_000, size), 0, len(gradients))
        noise = gradients[drawn].mean(1) - gradients.mean(0)
        return jnp.mean(jnp.sum(noise**2, axis=1))

    few, many = jax.random.split(key)
    return jnp.outer(jnp.sqrt(jnp.stack([mean_square(few, 4), mean_square(many, 16)])), rates)


def test_rms_of_the_noise_of_steps_is_the_degree():
    """Half the learning rate, or four times the batch, is half the noise."""
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(50, 5)), "y": rng.normal(size=50)}
    batch = jax.tree.map(np.float32, batch)
    w, rates = jnp.ones(5), jnp.array([0.1, 0.05])

    def loss_fn(w, batch):
        return (batch["x"] @ w - batch["y"]) ** 2

    gradients = jn.gradients.per_example(loss_fn, w, batch)
    (full, half), (quarter, _) = rms_steps(jax.random.key(0), gradients, rates)
    np.testing.assert_allclose([half / full, quarter / full], 0.5, rtol=0.02)
    noise_std = jn.gradients.noise_std(loss_fn, w, batch) * np.sqrt(49 / 50)
    degrees = degree_of_smoothing(0.1, np.array([4, 16]), noise_std)
    np.testing.assert_allclose([full, quarter], degrees, rtol=0.02)
