"""Bounds by the component gradients at the solution, written out and held against runs."""

from functools import partial
from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import theory
from jaxnoise.gradients import vanishing

L, MU, N, STEP, T, START, GOAL = 1.7, 0.6, 3.0, 0.15, 6, 3.1, 0.4
SPLIT = {"tau": 0.2, "fraction": 0.7, "tail_mean": 1.9}
G = 0.7 * 0.2 + 0.3 * 1.9
CONVEX = SPLIT | {"smoothness": L, "initial_squared_distance": START}
STRONG = CONVEX | {"strong_convexity": MU}
NONCONVEX = SPLIT | {"smoothness": L, "growth": N, "initial_gap": START}


def test_bounds():
    margin = 1 - STEP * L
    bound = theory.sgd_vanishing_strongly_convex_bound(STEP, T, **STRONG)
    rate = 1 - MU * STEP * margin
    np.testing.assert_allclose(bound, rate**T * START + 2 * STEP / (MU * margin) * G, rtol=1e-6)
    sharp = theory.sgd_vanishing_strongly_convex_bound(STEP, T, **STRONG, sharp=True)
    left = (1 - 2 * MU * STEP * margin) ** T
    np.testing.assert_allclose(
        sharp, left * START + STEP / (MU * margin) * G * (1 - left), rtol=1e-6
    )
    bound = theory.sgd_vanishing_convex_bound(STEP, T, **CONVEX)
    np.testing.assert_allclose(
        bound, START / (2 * STEP * margin * (T + 1)) + STEP / margin * G, rtol=1e-6
    )
    bound = theory.sgd_vanishing_nonconvex_bound(STEP, T, **NONCONVEX)
    margin = 1 - L * N * STEP
    np.testing.assert_allclose(
        bound, START / (STEP * margin * (T + 1)) + L * STEP / margin * G, rtol=1e-5
    )


@pytest.mark.parametrize("setting", ["convex", "nonconvex"])
def test_the_step_size_is_the_best_and_the_number_of_steps_enough(x64, setting):
    problem = {"convex": CONVEX, "nonconvex": NONCONVEX}[setting]
    bound, step_size, num_steps = (
        getattr(theory, f"sgd_vanishing_{setting}_{name}")
        for name in ("bound", "step_size", "num_steps")
    )
    best = step_size(T, **problem)
    around = bound(best * jnp.array([0.99, 1.0, 1.01]), T, **problem)
    assert np.argmin(around) == 1
    np.testing.assert_allclose(jax.grad(bound)(best, T, **problem), 0, atol=1e-9)
    t = num_steps(GOAL, **problem)
    least = [float(bound(step_size(k, **problem), k, **problem)) for k in (t - 1, t)]
    assert least[1] <= GOAL < least[0]
    if setting == "convex":
        expected = 2 * START * (G + GOAL * L) / GOAL**2
    else:
        expected = 4 * L * START * (G + GOAL * N) / GOAL**2
    assert t == np.ceil(expected) - 1


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    tau=st.floats(0, 1, width=32),
    vanished=st.floats(0, 1, width=32),
    tail=st.floats(0, 100, width=32),
    share=st.floats(2**-6, 0.5, width=32),
)
def test_the_corollary_of_few_components_left(tau, vanished, tail, share):
    """Where 1 − p_τ ≤ τ and η ≤ 1/(2L), the noise is at most (4η/μ)(1 + M_τ)τ."""
    fraction = max(vanished, 1 - tau)
    step = share / L
    noise = theory.sgd_vanishing_strongly_convex_bound(
        step, 10**9, L, MU, tau, fraction, tail, initial_squared_distance=0.0
    )
    assert noise <= 4 * step / MU * (1 + tail) * tau * (1 + 1e-4) + 1e-6


def test_all_components_vanish():
    """Then SGD is as fast as gradient descent: the start is forgotten, no floor is left."""
    none = {"tau": 0.0, "fraction": 1.0, "tail_mean": 0.0}
    assert theory.sgd_vanishing_strongly_convex_bound(STEP, 10**4, **STRONG | none) < 1e-30
    np.testing.assert_allclose(
        theory.sgd_vanishing_convex_step_size(T, **CONVEX | none), 1 / (2 * L), rtol=1e-6
    )
    np.testing.assert_allclose(
        theory.sgd_vanishing_nonconvex_step_size(T, **NONCONVEX | none), 1 / (2 * L * N), rtol=1e-6
    )
    ratio = theory.sgd_vanishing_convex_bound(STEP, jnp.array([9, 99]), **CONVEX | none)
    np.testing.assert_allclose(ratio[0] / ratio[1], 10, rtol=1e-5)
    assert theory.sgd_vanishing_convex_bound(0.0, T, **CONVEX) == inf


# Runs on the mean of 30 quadratics f_i(w) = ½ Σ_j a_ij (w_j − c_ij)²

NUM, STEPS, SEEDS = 30, 100, 200


@partial(jax.jit, static_argnames="batch_size")
def sgd_paths(key, start, step_size, a, c, batch_size):
    """(SEEDS, STEPS + 1, d) iterates."""

    def path(key):
        def step(w, k):
            i = jax.random.randint(jax.random.fold_in(key, k), (batch_size,), 0, len(a))
            w = w - step_size * jnp.mean(a[i] * (w - c[i]), axis=0)
            return w, w

        ends = jax.lax.scan(step, start, jnp.arange(STEPS))[1]
        return jnp.concatenate([start[None], ends])

    return jax.vmap(path)(jax.random.split(key, SEEDS))


@pytest.fixture(scope="module")
def quadratics():
    random = np.random.default_rng(3)
    a = random.uniform(0.5, 1.5, (NUM, 2)) * np.array([1.0, 3.0])
    c = np.where(random.random(NUM) < 0.8, 0.01, 1.0)[:, None] * random.normal(size=(NUM, 2))
    return a, c


def test_runs_stay_below_the_bounds(quadratics):
    a, c = quadratics
    solution = np.sum(a * c, 0) / np.sum(a, 0)
    start = solution + np.array([2.0, -1.0])
    smooth, convex = a.max(), a.mean(0).min()
    norms = np.sum((a * (solution - c)) ** 2, axis=1)
    split = vanishing(norms, jnp.array([0.0, 1e-3, 1e-2, norms.max()]))
    assert 0.2 < split.fraction[2] < 1
    distance = 5.0

    def value(w):
        return 0.5 * np.mean(np.sum(a * (w[..., None, :] - c) ** 2, -1), -1)

    for share in (0.1, 0.5):
        step = share / smooth
        paths = np.asarray(sgd_paths(jax.random.key(0), start, step, a, c, batch_size=1), float)
        k = np.arange(STEPS + 1)[:, None]
        squared = np.mean(np.sum((paths - solution) ** 2, -1), 0)
        args = (step, k, smooth, convex, split.tau, split.fraction, split.tail_mean, distance)
        for sharp in (False, True):
            bound = theory.sgd_vanishing_strongly_convex_bound(*args, sharp=sharp)
            assert (squared[:, None] <= bound * (1 + 1e-5)).all()
        assert squared[-1] > 0.01 * bound[-1, 0]
        gaps = np.cumsum(np.mean(value(paths) - value(solution), 0)) / (k[:, 0] + 1)
        args = (step, k, smooth, split.tau, split.fraction, split.tail_mean, distance)
        assert (gaps[:, None] <= theory.sgd_vanishing_convex_bound(*args)).all()
        slopes = np.mean(a, 0) * (paths - solution)
        changes = np.mean(np.sum((a * (paths - solution)[..., None, :]) ** 2, -1), -1)
        growth = np.max(np.cumsum(changes.mean(0)) / np.cumsum(np.sum(slopes**2, -1).mean(0)))
        steepest = a.mean(0).max()
        if step * steepest * growth < 1:
            norms = np.cumsum(np.mean(np.sum(slopes**2, -1), 0)) / (k[:, 0] + 1)
            gap = value(start) - value(solution)
            args = (step, k, steepest, growth, split.tau, split.fraction, split.tail_mean, gap)
            assert (norms[:, None] <= theory.sgd_vanishing_nonconvex_bound(*args)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.sgd_vanishing_convex_bound(1 / L, T, **CONVEX),
            "step_size must be below 1/smoothness",
        ),
        (
            lambda: theory.sgd_vanishing_nonconvex_bound(0.2, T, **NONCONVEX),
            r"step_size must be below 1/\(smoothness · growth\)",
        ),
        (
            lambda: theory.sgd_vanishing_convex_step_size(T, **CONVEX | {"fraction": 1.1}),
            "fraction must be at most 1, got 1.1",
        ),
        (
            lambda: theory.sgd_vanishing_nonconvex_step_size(T, **NONCONVEX | {"growth": 0}),
            "growth must be a positive number, got 0",
        ),
        (
            lambda: theory.sgd_vanishing_strongly_convex_bound(
                STEP, T, **STRONG | {"strong_convexity": 2}
            ),
            "strong_convexity must be at most smoothness",
        ),
        (
            lambda: theory.sgd_vanishing_convex_num_steps(1.0, **CONVEX | {"tau": -1}),
            "tau must be finite and not negative",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
