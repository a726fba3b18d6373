import functools
from decimal import Context, Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from scipy import stats

from jaxnoise import smoothing
from jaxnoise.smoothing._directions import DISTRIBUTIONS, METHODS, directions, seeds

pytestmark = pytest.mark.usefixtures("strict_promotion")


def new_key():
    return jax.random.key(3)


def draws(distribution, method="monte_carlo", num=4096, dimension=3):
    made = seeds(new_key(), num, dimension, distribution, method)
    return np.asarray(directions(made, dimension, distribution, jnp.float32), np.float64)


def slow_directions(rng, num, dimension, distribution):
    normal = rng.normal(size=(num, dimension))
    if distribution == "gaussian":
        return normal / np.sqrt(dimension)
    radius = rng.uniform(size=(num, 1)) ** (1 / dimension)
    return normal / np.linalg.norm(normal, axis=1, keepdims=True) * radius


@pytest.mark.parametrize("dimension", [1, 2, 10])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_closed_forms_are_met_within_the_sampling_error(distribution, dimension):
    rng = np.random.default_rng(0)
    root, vector, amplitudes, frequencies, x = (
        rng.normal(size=shape).astype(np.float32)
        for shape in [(dimension, dimension), *[dimension] * 4]
    )
    matrix, delta, num = root @ root.T, 0.8, 4000

    def f(x):
        waves = jnp.sum(amplitudes * jnp.cos(frequencies * x), -1)
        return jnp.sum(x * (x @ matrix), -1) / 2 + x @ vector + 1.5 + waves

    def exact(x):
        quadratic = smoothing.smoothed_quadratic(x, delta, matrix, vector, 1.5, distribution)
        return quadratic + smoothing.smoothed_cosines(
            x, delta, amplitudes, frequencies, distribution
        )

    hat = smoothing.smoothed(new_key(), f, delta, num, distribution, method="monte_carlo")
    found, expected = jax.jit(lambda x: [jax.value_and_grad(g)(x) for g in (hat, exact)])(x)
    shifted = x - delta * slow_directions(rng, 20000, dimension, distribution)
    values = np.sum(shifted @ matrix * shifted, 1) / 2 + shifted @ vector
    values += np.cos(frequencies * shifted) @ amplitudes
    slopes = shifted @ matrix - amplitudes * frequencies * np.sin(frequencies * shifted)
    for a, b, sampled in zip(found, expected, (values, slopes), strict=True):
        assert (abs(a - b) < 4.5 * np.std(sampled, axis=0) / np.sqrt(num) + 1e-5).all()


def slow_factor(z, dimension):
    """Γ(d/2 + 1) (2/z)^{d/2} J_{d/2}(z) by its power series, in decimals enough for its terms."""
    with localcontext(Context(prec=400)):
        order, square = Decimal(dimension) / 2, -(Decimal(float(z)) ** 2) / 4
        term = total = Decimal(1)
        for k in range(1, 2000):
            term *= square / (k * (order + k))
            total += term
        return float(total)


@pytest.mark.parametrize("dimension", [1, 2, 3, 10, 1000])
def test_the_factor_of_the_ball_is_a_bessel_function(dimension, x64):
    z = np.array([1e-3, 0.5, 3.0, 20.0, 390.0])
    expected = [slow_factor(x, dimension) for x in z]
    found = smoothing.cosine_factor(z, dimension)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    if dimension == 1:
        np.testing.assert_allclose(found, np.sin(z) / z, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_directions_have_the_moments_and_the_law_that_is_said(method):
    dimension = 3
    ball = draws("ball", method)
    norms = np.linalg.norm(ball, axis=1)
    assert norms.max() <= 1 + 1e-6
    np.testing.assert_allclose(np.mean(norms**2), dimension / (dimension + 2), rtol=0.03)
    assert stats.kstest(norms**dimension, "uniform").pvalue > 1e-3
    normal = draws("gaussian", method)
    np.testing.assert_allclose(np.mean(np.sum(normal**2, 1)), 1, rtol=0.05)
    assert stats.kstest(np.sqrt(dimension) * normal[:, 1], "norm").pvalue > 1e-3
    for found in (ball, normal):
        covariance = np.cov(found.T)
        np.testing.assert_allclose(covariance, covariance[0, 0] * np.eye(3), atol=0.03)
        np.testing.assert_allclose(found.mean(0), 0, atol=0.04)


def test_one_dimension_is_uniform_on_the_interval():
    assert stats.kstest(draws("ball", dimension=1)[:, 0], stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_pairs_are_exact_on_linear_functions_and_low_discrepancy_is_better_than_chance():
    slope, x = jnp.array([2.0, -1.0, 0.5]), jnp.array([1.0, 2.0, 3.0])
    hat = smoothing.smoothed(new_key(), lambda x: x @ slope, 10.0, 7)
    np.testing.assert_allclose(hat(x), x @ slope, rtol=1e-6)

    f, x = smoothing.functions.rastrigin, jnp.array([0.3, -1.2])
    exact = smoothing.functions.rastrigin_smoothed(x, 0.7)

    def error(method):
        keys = jax.random.split(new_key(), 16)
        values = jax.vmap(lambda key: smoothing.smoothed(key, f, 0.7, 256, method=method)(x))(keys)
        return np.sqrt(np.mean((values - exact) ** 2))

    assert error("quasi_monte_carlo") < 0.3 * error("monte_carlo")


@functools.cache
def cone(distribution):
    @jax.jit
    def values(x, tip, slope, delta):
        def f(x):
            return slope * jnp.linalg.norm(x - tip)

        hat = smoothing.smoothed(
            new_key(), f, delta, 1024, distribution, method="quasi_monte_carlo"
        )
        return f(x), hat(x), hat(tip)

    return values


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6),
    st.floats(0.125, 100, width=32),
    st.floats(0, 10, width=32),
)
def test_smoothing_moves_lipschitz_functions_by_less_than_the_lemma_says(points, slope, delta):
    """|f̂_δ − f| ≤ δ L d/(d + 1), met with equality at the tip of a cone."""
    points = jnp.array(points).reshape(2, 3)
    at, smooth, tip = cone("ball")(*points, slope, delta)
    bound = delta * slope * 3 / 4
    rounding = 1e-5 * slope * 40
    assert abs(smooth - at) <= 1.01 * bound + rounding
    assert abs(tip - bound) <= 0.01 * bound + rounding


def tree_function(x):
    return jnp.sum(jnp.sin(x["a"])) * x["b"] ** 2 + jnp.sum(x["a"] ** 2)


TREE = {"a": jnp.array([[0.3, -0.7], [1.1, 0.2]]), "b": jnp.array(0.5)}


@pytest.mark.parametrize(
    "method", ["antithetic", pytest.param("quasi_monte_carlo", marks=pytest.mark.slow)]
)
def test_chunks_and_gradients_of_trees(method):
    def made(chunk_size=None, delta=0.3):
        return smoothing.smoothed(
            new_key(), tree_function, delta, 37, method=method, chunk_size=chunk_size
        )

    @jax.jit
    def everything(x):
        whole, chunked = made(), made(chunk_size=8)
        values = whole(x), chunked(x)
        gradients = jax.grad(whole)(x), jax.grad(chunked)(x), whole.gradient(x), chunked.gradient(x)
        return values, gradients, jax.grad(lambda delta: made(8, delta)(x))(0.3)

    values, gradients, along_delta = everything(TREE)
    flat, unflatten = ravel_pytree(TREE)
    shifts = np.asarray(directions(seeds(new_key(), 37, 5, "ball", method), 5, "ball", jnp.float32))
    if method == "antithetic":
        shifts = np.concatenate([shifts, -shifts])
    points = jax.vmap(unflatten)(flat - 0.3 * shifts)
    expected = np.mean(jax.vmap(tree_function)(points))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    slopes = jax.jit(jax.vmap(jax.grad(tree_function)))(points)
    expected = jax.tree.map(lambda slope: np.mean(slope, axis=0), slopes)
    for found in gradients:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4), found, expected)
    expected = -np.mean(np.sum(shifts * jax.vmap(lambda x: ravel_pytree(x)[0])(slopes), axis=1))
    np.testing.assert_allclose(along_delta, expected, rtol=1e-3)


def test_large_sets_of_directions_are_drawn_in_chunks(monkeypatch):
    whole = smoothing.smoothed(new_key(), jnp.sum, 1.0, 40)
    expected = whole(jnp.ones((2, 3)))
    monkeypatch.setattr("jaxnoise.smoothing._smoothed.CHUNK_NUMBERS", 36)
    jax.clear_caches()
    np.testing.assert_allclose(whole(jnp.ones((2, 3))), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(whole)(jnp.ones((2, 3))), 1, rtol=1e-6)


def test_other_keys_and_deltas_compile_nothing_anew(compilations):
    traced = []

    def f(x):
        traced.append(x)
        return jnp.sum(x**2)

    evaluate = jax.jit(lambda hat, x: jax.vmap(jax.value_and_grad(hat))(x))
    x = jnp.ones((4, 2))
    evaluate(smoothing.smoothed(new_key(), f, 0.1, 8), x)
    count = len(traced)
    other, x = smoothing.smoothed(jax.random.key(9), f, 0.2, 8), 2 * x
    assert compilations(lambda: evaluate(other, x)) == 0
    assert len(traced) == count
    hats = jax.vmap(lambda d: smoothing.smoothed(new_key(), f, d, 8)(x[0]))(jnp.array([0.0, 0.5]))
    assert hats[0] == 8 < hats[1]


def test_low_precision_is_smoothed_in_single_precision():
    hat = smoothing.smoothed(new_key(), lambda x: jnp.sum(x**2), 1e-3, 64)
    x = jnp.array([1.0, 2.0], jnp.bfloat16)
    assert hat(x).dtype == jnp.float32
    assert 5 < hat(x) < 5.00001


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key must be a typed key"),
        ({"key": jax.random.split(new_key())}, ValueError, "key must be a single key"),
        ({"f": 3}, TypeError, "expected a function"),
        ({"delta": -1.0}, ValueError, "delta must be finite and not negative"),
        ({"delta": jnp.ones(2)}, ValueError, "delta must be a single number"),
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1"),
        ({"distribution": "cube"}, ValueError, "distribution must be one of"),
        ({"method": "sobol"}, ValueError, "method must be one of"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be a positive number"),
    ],
)
def test_wrong_arguments(options, error, message):
    arguments = {"key": new_key(), "f": jnp.sum, "delta": 1.0, "num_samples": 4}
    with pytest.raises(error, match=message):
        smoothing.smoothed(**{**arguments, **options})


@pytest.mark.parametrize(
    ("f", "x", "error", "message"),
    [
        (jnp.sin, jnp.ones(3), ValueError, "f must give a single number, got \\(3,\\)"),
        (lambda x: 3, jnp.ones(3), TypeError, "f must give a floating number, got int32"),
        (jnp.sum, jnp.ones(3, int), TypeError, "x must hold real floating arrays alone"),
        (jnp.sum, {}, ValueError, "x holds no numbers"),
    ],
)
def test_wrong_points(f, x, error, message):
    with pytest.raises(error, match=message):
        smoothing.smoothed(new_key(), f, 1.0, 4)(x)


def test_low_discrepancy_has_limits():
    hat = smoothing.smoothed(new_key(), jnp.sum, 1.0, 4, method="quasi_monte_carlo")
    with pytest.raises(ValueError, match="can't take 4 samples in 30000 dimensions"):
        hat(jnp.ones(30000))


def test_closed_forms_name_what_they_lack():
    with pytest.raises(ValueError, match="distribution must be one of"):
        smoothing.smoothed_quadratic(jnp.ones(2), 1.0, jnp.eye(2), distribution="cube")
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        smoothing.cosine_factor(1.0, 0)
