"""SGD itself, many runs side by side, stays below the bounds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise import theory

SEEDS, STEPS, VAR, BATCH = 200, 100, 0.5, 4


@pytest.fixture(scope="module")
def regression():
    """f(x) = (1/2n) Σ (a_iᵀx − b_i)²: the data, L, μ, x* and a start."""
    random = np.random.default_rng(0)
    a = random.normal(size=(40, 3)) * np.array([1.0, 0.7, 0.5])
    b = a @ np.array([1.0, -2.0, 0.5]) + 0.3 * random.normal(size=40)
    eigenvalues = np.linalg.eigvalsh(a.T @ a / 40)
    best = np.linalg.lstsq(a, b)[0]
    return a, b, eigenvalues[-1], eigenvalues[0], best, best + np.array([1.0, 1.0, -1.0])


@partial(jax.jit, static_argnames="gradient")
def iterates(key, gradient, start, steps):
    """(…, SEEDS, K + 1, d) iterates for step sizes (…, K), where g = gradient(key, x)."""

    def run(key, steps):
        def advance(x, inputs):
            k, step = inputs
            x = x - step * gradient(jax.random.fold_in(key, k), x)
            return x, x

        return jax.lax.scan(advance, start, (jnp.arange(len(steps)), steps))[1]

    keys = jax.random.split(key, SEEDS)
    runs = jax.vmap(jax.vmap(run, (0, None)), (None, 0))(keys, steps)
    first = jnp.broadcast_to(start, (*runs.shape[:2], 1, *runs.shape[3:]))
    return jnp.concatenate([first, runs], axis=2)


def schedules(limit, decaying):
    """Constant step sizes at several shares of their limit, and a decaying one, (4, STEPS)."""
    constant = limit * np.array([1.0, 0.5, 0.1])[:, None] * np.ones(STEPS)
    return np.concatenate([constant, np.asarray(decaying)[None]])


def running_mean(values, weights):
    return np.cumsum(values * weights, -1) / np.cumsum(weights, -1)


def test_linear_regression_with_known_variance(regression):
    """The full gradient plus normal noise: every run's variance is σ²/B."""
    a, b, smooth, convex, best, start = regression
    scale = np.sqrt(VAR / BATCH / 3)

    def gradient(key, x):
        return a.T @ (a @ x - b) / len(a) + scale * jax.random.normal(key, x.shape)

    decaying = theory.sgd_strongly_convex_decaying_step_size(np.arange(STEPS), smooth, convex)
    steps = schedules(1 / smooth, decaying)
    paths = np.asarray(iterates(jax.random.key(1), gradient, start, steps), float)
    gaps = np.mean(np.sum((paths - best) @ (a.T @ a / 80) * (paths - best), -1), 1)
    args = (smooth, convex, VAR, gaps[0, 0])
    bounds = theory.sgd_strongly_convex_decaying_bound(steps, *args, batch_size=BATCH)
    assert (gaps <= bounds * (1 + 1e-4)).all()
    assert gaps[3, -1] > 0.02 * bounds[3, -1]
    loose = theory.sgd_strongly_convex_bound(
        steps[:3, :1], np.arange(STEPS + 1), *args, batch_size=BATCH
    )
    assert (gaps[:3] <= loose).all()

    steps = np.append(steps, steps[:, -1:], axis=1)  # one for each iterate
    distance = np.sum((start - best) ** 2)
    bounds = theory.sgd_convex_decaying_bound(steps / 2, smooth, VAR, distance, batch_size=BATCH)
    halved = np.asarray(iterates(jax.random.key(2), gradient, start, steps[:, :-1] / 2), float)
    gaps = np.mean(np.sum((halved - best) @ (a.T @ a / 80) * (halved - best), -1), 1)
    assert (running_mean(gaps, steps) <= bounds).all()
    assert (running_mean(gaps, steps)[:, -1] > 0.05 * bounds[:, -1]).all()


def test_the_sharp_bound_is_reached_on_a_parabola():
    """With L = μ and γ = 1/L the gap is γσ²/2 from the first step on."""

    def gradient(key, x):
        return 2 * x + jnp.sqrt(VAR) * jax.random.normal(key, x.shape)

    steps = np.full((1, STEPS), 0.5)
    paths = np.asarray(iterates(jax.random.key(3), gradient, np.array([3.0]), steps), float)
    gap = np.mean(paths[0, :, 1:] ** 2)
    bound = theory.sgd_strongly_convex_bound(0.5, 1, 2.0, 2.0, VAR, 9.0, sharp=True)
    np.testing.assert_allclose(gap, bound, rtol=0.03)


def test_components_drawn_from_the_data(regression):
    """Least squares: the variance grows with the distance, and its largest mean along the run
    makes the bound hold."""
    a, b, smooth, convex, best, start = regression

    def gradient(key, x):
        i = jax.random.randint(key, (BATCH,), 0, len(a))
        return jnp.asarray(a)[i].T @ (jnp.asarray(a)[i] @ x - jnp.asarray(b)[i]) / BATCH

    steps = schedules(0.3 / smooth, np.full(STEPS, 0.2 / smooth))
    paths = np.asarray(iterates(jax.random.key(4), gradient, start, steps), float)
    components = (paths @ a.T - b)[..., None] * a
    noise = np.mean(np.var(components, axis=-2).sum(-1), 1)  # (4, K + 1) mean over the runs
    assert noise[0, 0] > 2 * noise[0, -1]
    gaps = np.mean(np.sum((paths - best) @ (a.T @ a / 80) * (paths - best), -1), 1)
    for sharp in (False, True):
        bounds = theory.sgd_strongly_convex_bound(
            steps[:, :1],
            np.arange(STEPS + 1),
            smooth,
            convex,
            noise.max(1, keepdims=True),
            gaps[0, 0],
            batch_size=BATCH,
            sharp=sharp,
        )
        assert (gaps <= bounds * (1 + 1e-4)).all()


def test_a_function_that_is_not_convex():
    """f(x) = Σ (1 − cos x_j), with L = 1, from close to its maximum."""
    start = np.array([3.0, 2.0])

    def gradient(key, x):
        return jnp.sin(x) + np.sqrt(VAR / BATCH / 2) * jax.random.normal(key, x.shape)

    gap = float(np.sum(1 - np.cos(start)))
    decaying = theory.sgd_nonconvex_step_size(np.arange(STEPS), 1.0, VAR, gap, batch_size=BATCH)
    steps = schedules(1.0, decaying)
    paths = np.asarray(iterates(jax.random.key(5), gradient, start, steps), float)
    steps = np.append(steps, steps[:, -1:], axis=1)
    norms = running_mean(np.mean(np.sum(np.sin(paths) ** 2, -1), 1), steps)
    bounds = theory.sgd_nonconvex_decaying_bound(steps, 1.0, VAR, gap, batch_size=BATCH)
    assert (norms <= bounds).all()
    assert (norms[:, -1] > 0.1 * bounds[:, -1]).all()
    k = np.arange(STEPS + 1)
    sharp = theory.sgd_nonconvex_bound(
        steps[:3, :1], k, 1.0, VAR, gap, batch_size=BATCH, sharp=True
    )
    assert (norms[:3] <= sharp).all()
    step = theory.sgd_nonconvex_step_size(STEPS, 1.0, VAR, gap, batch_size=BATCH)
    tuned = np.asarray(iterates(jax.random.key(6), gradient, start, np.full((4, STEPS), step)))
    mean = np.mean(np.sum(np.sin(tuned) ** 2, -1))
    assert mean <= theory.sgd_nonconvex_tuned_bound(STEPS, 1.0, VAR, gap, batch_size=BATCH)
