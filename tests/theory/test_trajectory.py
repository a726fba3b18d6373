"""TRSGD's bounds: written out, against the recursion of the proof, and against runs."""

from functools import partial
from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise import theory

SMOOTH, VAR, G, B = 1.7, 2.3, 1.1, 3.1
PROBLEM = {"smoothness": SMOOTH, "variance": VAR, "gradient_bound": G, "value_bound": B}


def test_bounds():
    sgd = partial(
        theory.sgd_bounded_nonconvex_bound, 40, SMOOTH, variance=VAR, value_bound=B, batch_size=5
    )
    np.testing.assert_allclose(sgd(), 8 * SMOOTH * B / 40 + VAR / 10, rtol=1e-6)
    sharp = 16 * SMOOTH * B / 120 + VAR / 15
    np.testing.assert_allclose(sgd(form="sharp"), sharp, rtol=1e-6)
    np.testing.assert_allclose(sgd(form="printed"), 4 * SMOOTH * B / 40 + VAR / 20, rtol=1e-6)
    trsgd = partial(theory.trsgd_nonconvex_bound, 40, 30, **PROBLEM)
    moment = (VAR + G**2) / 30
    start = 8 * SMOOTH * B / 40
    np.testing.assert_allclose(trsgd(), start + 72 * moment, rtol=1e-6)
    np.testing.assert_allclose(trsgd(form="sharp"), start + 40.5 * moment, rtol=1e-6)
    printed = 4 * SMOOTH * B / 40 + 72 * SMOOTH**2 * moment
    np.testing.assert_allclose(trsgd(form="printed"), printed, rtol=1e-6)


def slow_inner_error(r, num_inner_steps):
    """S → a_{S+1}, step by step as in the docstring."""
    a, rho = 0.0, 0.0
    errors = []
    for k in range(1, num_inner_steps + 1):
        a = max(1 - 2 / k, 0) * a + (1 + rho) ** 2 / k**2
        rho = abs(1 - r / k) * rho + r / k
        errors.append(a)
    return np.array(errors)


def test_the_constant_is_the_largest_of_the_recursion():
    inner = np.arange(1, 2001)
    products = [9 * r**2 / 4 * inner * slow_inner_error(r, 2000) for r in np.linspace(1, 2, 21)]
    assert np.argmax(products[-1]) == 1
    np.testing.assert_allclose(np.max(products), 40.5, rtol=1e-12)
    np.testing.assert_allclose(products[-1][-1], 36, rtol=5e-3)


def test_no_other_rounds_and_inner_steps_are_fewer(x64):
    goal = 1e-4
    rounds, inner = theory.trsgd_nonconvex_num_steps(goal, **PROBLEM)
    assert (rounds, inner) == (
        np.ceil(16 * SMOOTH * B / goal),
        np.ceil(144 * (VAR + G**2) / goal),
    )
    assert theory.trsgd_nonconvex_bound(rounds, inner, **PROBLEM) <= goal
    tried = jnp.linspace(0.51, 0.99, 99) * 2 * rounds
    floor = goal - 8 * SMOOTH * B / tried
    total = tried * 72 * (VAR + G**2) / floor
    assert (total >= rounds * inner * (1 - 1e-6)).all()
    _, sharp = theory.trsgd_nonconvex_num_steps(goal, **PROBLEM, form="sharp")
    np.testing.assert_allclose(sharp / inner, 40.5 / 72, rtol=1e-6)


# Runs on the line with normal noise

SEEDS = 500


@partial(jax.jit, static_argnames=("slope", "num"))
def sgd_norms(key, slope, start, step, sigma, num):
    """(1/T) Σ_{t=1}^T E f′(w_t)² over SEEDS runs of SGD."""

    def step_all(w, key):
        g = slope(w)
        noise = sigma * jax.random.normal(key, w.shape)
        return w - step * (g + noise), jnp.mean(g**2)

    return jnp.mean(jax.lax.scan(step_all, jnp.full(SEEDS, start), jax.random.split(key, num))[1])


@partial(jax.jit, static_argnames=("slope", "inner", "rounds"))
def trsgd_norms(key, slope, start, weight, delta, sigma, inner, rounds):
    def inner_step(carry, inputs):
        (w, anchor), (key, k) = carry, inputs
        g = slope(w) + sigma * jax.random.normal(key, w.shape) + weight * (w - anchor)
        w = w - theory.trsgd_nonconvex_step_size(k, weight, delta) * g
        return (w, anchor), None

    def round_all(w, key):
        inputs = (jax.random.split(key, inner), jnp.arange(1, inner + 1))
        w = jax.lax.scan(inner_step, (w, w), inputs)[0][0]
        return w, jnp.mean(slope(w) ** 2)

    return jnp.mean(
        jax.lax.scan(round_all, jnp.full(SEEDS, start), jax.random.split(key, rounds))[1]
    )


def test_the_printed_bound_of_sgd_is_false():
    """−cos w with σ = 0.3, the step 1/(2ℓ)."""
    found = sgd_norms(jax.random.key(0), jnp.sin, 0.0, 0.5, 0.3, num=4000)
    args = (4000, 1.0, 0.09, 1.0)
    printed, corrected, sharp = (
        theory.sgd_bounded_nonconvex_bound(*args, form=form)
        for form in ("printed", "corrected", "sharp")
    )
    assert printed < 0.024 < 0.029 < found < sharp < corrected


def test_the_printed_bound_of_trsgd_is_false():
    """100 sin(w/100) with σ = 1, ℓ = δ = 0.01, λ = 2ℓ, S = 10, started where it is least."""

    def slope(w):
        return jnp.cos(w / 100)

    found = trsgd_norms(jax.random.key(1), slope, -50 * pi, 0.02, 0.01, 1.0, inner=10, rounds=3000)
    args = (3000, 10, 0.01, 1.0, 1.0, 100.0)
    printed, corrected, sharp = (
        theory.trsgd_nonconvex_bound(*args, form=form) for form in ("printed", "corrected", "sharp")
    )
    assert printed < 0.0029 < 0.035 < found < sharp < corrected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.trsgd_nonconvex_bound(9, 9, **PROBLEM, form="exact"),
            "form must be one of",
        ),
        (
            lambda: theory.trsgd_nonconvex_num_steps(1.0, **PROBLEM, form="printed"),
            "form must be one of",
        ),
        (lambda: theory.trsgd_nonconvex_bound(0, 9, **PROBLEM), "num_rounds must be a positive"),
        (
            lambda: theory.sgd_bounded_nonconvex_bound(0, SMOOTH, VAR, B),
            "num_iterates must be a positive number, got 0",
        ),
        (
            lambda: theory.trsgd_nonconvex_step_size(1, weight=1.0, nonconvexity=1.0),
            "weight must be above nonconvexity, got 1.0 and 1.0",
        ),
        (lambda: theory.trsgd_nonconvex_step_size(0, 2.0, 1.0), "inner_step must be a positive"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
