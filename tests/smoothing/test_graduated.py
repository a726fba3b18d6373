import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise import smoothing
from jaxnoise.smoothing import functions, graduated_descent, polynomial_deltas
from jaxnoise.smoothing._directions import directions, seeds

STARTS = np.random.default_rng(0).uniform(-2, 2, size=(5, 2)).astype(np.float32)
DELTAS = np.array([0.8, 0.4, 0.0], np.float32)
OPTIONS = {"learning_rate": 0.01, "num_steps": 3, "num_samples": 6}


def new_key():
    return jax.random.key(2)


def slope(x):
    return 2 * x + 20 * np.pi * np.sin(2 * np.pi * x)


def slow_descent(x, distribution, method, resample, rates):
    """Loops over stages, steps and shifts in double precision."""
    x, ends = x.astype(np.float64), []
    for key, delta, rate in zip(jax.random.split(new_key(), 3), DELTAS, rates, strict=True):
        for t in range(OPTIONS["num_steps"]):
            own = jax.random.fold_in(key, t) if resample else jax.random.clone(key)
            made = seeds(own, OPTIONS["num_samples"], 2, distribution, method)
            shifts = np.asarray(directions(made, 2, distribution, jnp.float32), np.float64)
            if method == "antithetic":
                shifts = np.concatenate([shifts, -shifts])
            x = x - rate * np.mean([slope(x - delta * u) for u in shifts], axis=0)
        ends.append(x)
    return np.stack(ends)


@pytest.mark.parametrize(
    ("method", "resample"),
    [
        pytest.param("antithetic", True, marks=pytest.mark.slow),
        ("monte_carlo", False),
        ("quasi_monte_carlo", True),
    ],
)
def test_many_starts_go_where_slow_loops_go(method, resample):
    distribution = "ball" if resample else "gaussian"
    rates = np.array([0.01, 0.005, 0.002])
    options = {**OPTIONS, "learning_rate": rates, "distribution": distribution}
    found = graduated_descent(
        new_key(),
        functions.rastrigin,
        STARTS,
        DELTAS,
        method=method,
        resample=resample,
        vectorized=True,
        chunk_size=2,
        **options,
    )
    expected = [slow_descent(x, distribution, method, resample, rates) for x in STARTS]
    np.testing.assert_allclose(found.stage_points, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(found.point, found.stage_points[:, -1])
    np.testing.assert_allclose(found.value, functions.rastrigin(found.point), rtol=1e-4)
    np.testing.assert_array_equal(found.value, found.stage_values[:, -1])


def test_one_start_goes_where_it_goes_among_many():
    many = graduated_descent(
        new_key(),
        functions.rastrigin,
        STARTS,
        DELTAS,
        vectorized=True,
        optimizer=optax.adam,
        **OPTIONS,
    )
    one = graduated_descent(
        new_key(), functions.rastrigin, STARTS[3], DELTAS, optimizer=optax.adam, **OPTIONS
    )
    np.testing.assert_allclose(one.stage_points, many.stage_points[3], rtol=1e-4)


def test_far_starts_reach_the_global_minimum_where_descent_stays_in_wells():
    starts = np.linspace(-5.12, 5.12, 41, dtype=np.float32)[:, None]
    options = {"learning_rate": 0.002, "num_steps": 200, "vectorized": True}
    plain = smoothing.descent(functions.rastrigin, starts, **options)
    assert np.mean(abs(plain.point) < 0.1) < 0.15
    deltas = polynomial_deltas(1.5, 6, 0.5, finish=True)
    found = graduated_descent(new_key(), functions.rastrigin, starts, deltas, **options)
    np.testing.assert_allclose(found.point, 0, atol=1e-3)
    np.testing.assert_allclose(found.value, 0, atol=1e-3)


def test_other_numbers_compile_nothing_anew(compilations):
    def run(key, starts, deltas, rate):
        options = {**OPTIONS, "learning_rate": rate, "vectorized": True}
        return graduated_descent(key, functions.rastrigin, starts, deltas, **options)

    run(new_key(), STARTS, jnp.asarray(DELTAS), 0.01)
    other = jax.random.key(3), STARTS + 1, jnp.asarray(DELTAS) / 2, 0.02
    assert compilations(lambda: run(*other)) == 0


def test_trees_and_transformations():
    start = {"a": jnp.ones(2), "b": jnp.ones((1, 2))}

    def run(key, delta):
        deltas = polynomial_deltas(delta, 3)
        return graduated_descent(
            key, lambda x: jnp.sum(x["a"] ** 2) + jnp.sum(x["b"]), start, deltas, **OPTIONS
        )

    with jax.debug_key_reuse(False):  # the two sides of a condition are both run, with one key
        found = jax.jit(jax.vmap(run))(jax.random.split(new_key()), jnp.array([0.1, 1.0]))
    assert found.stage_points["b"].shape == (2, 3, 1, 2)
    np.testing.assert_allclose(found.point["b"], 1 - 9 * 0.01, rtol=1e-5)
    np.testing.assert_allclose(found.point["a"], 0.98**9, rtol=1e-5)  # pairs are exact here


def test_polynomial_deltas():
    deltas = polynomial_deltas(2.0, 5, 0.7, finish=True)
    gammas = [((5 - m) / (5 - (m - 1))) ** 0.7 for m in range(1, 6)]
    np.testing.assert_allclose(deltas, 2 * np.cumprod([1, *gammas]), rtol=1e-6)
    np.testing.assert_array_equal(polynomial_deltas(2.0, 5, 0.7), deltas[:-1])
    for options, message in [
        ((0.0, 3), "delta must be a positive number"),
        ((1.0, 0), "num_stages must be at least 1"),
        ((1.0, 3, -1.0), "power must be a positive number"),
    ]:
        with pytest.raises(ValueError, match=message):
            polynomial_deltas(*options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": 0}, TypeError, "key must be a typed key"),
        ({"deltas": 1.0}, ValueError, r"deltas must be a list of degrees of smoothing, got \(\)"),
        ({"deltas": []}, ValueError, "deltas must be finite and not negative"),
        ({"deltas": [1.0, -1.0]}, ValueError, "deltas must be finite and not negative"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a positive number"),
        ({"learning_rate": [0.1, 0.2]}, ValueError, "one for each of the 3 deltas"),
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1"),
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1"),
        ({"method": "sobol"}, ValueError, "method must be one of"),
        ({"distribution": "cube"}, ValueError, "distribution must be one of"),
        ({"start": [1, 2]}, TypeError, "start must hold real floating arrays alone"),
        ({"start": STARTS}, ValueError, "give vectorized=True where start holds many starts"),
    ],
)
def test_wrong_arguments(options, error, message):
    arguments = {"f": functions.rastrigin, "start": STARTS[0], "deltas": DELTAS, **OPTIONS}
    with pytest.raises(error, match=message):
        graduated_descent(**{"key": new_key(), **arguments, **options})
