"""Graduated optimization: bounds written out, stages against descent, shifts against geometry."""

from math import ceil, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import theory
from jaxnoise.schedules import admissible_decay, admissible_probability
from jaxnoise.smoothing import polynomial_deltas

L, SIGMA, VAR, GAP, DISTANCE, K, B, STEP = 1.7, 0.6, 2.3, 3.1, 4.3, 6, 5, 0.8
STAGE = {
    "smoothness": L, "strong_convexity": SIGMA, "variance": VAR, "initial_gap": GAP,
    "initial_squared_distance": DISTANCE, "batch_size": B,
}  # fmt: skip
DECAY = {"delta": 2.0, "lipschitz": 1.4, "strong_convexity": SIGMA}


def test_a_stage():
    first = DISTANCE / (2 * STEP) + GAP / (2 - L * STEP)
    floor = STEP * VAR / ((2 - L * STEP) * B)
    bound = theory.graduated_stage_bound(STEP, K, **STAGE)
    np.testing.assert_allclose(bound, first / (K + 1) + floor, rtol=1e-6)
    steps = theory.graduated_stage_num_steps(0.7, L, SIGMA)
    assert steps == ceil(2 * L / SIGMA * (2 / 0.7 - 1) ** 2) - 1


def test_runs_of_a_stage_stay_below_the_bound():
    """A quadratic with normal noise, 400 runs of 60 steps."""
    curvature, start = jnp.array([L, SIGMA]), jnp.array([1.0, -2.0])
    gap = float(curvature @ start**2) / 2

    @jax.jit
    def mean_gaps(key, step):
        def advance(x, key):
            noise = jnp.sqrt(VAR / 2) * jax.random.normal(key, x.shape)
            return x - step * (curvature * x + noise), jnp.mean(x**2 @ curvature) / 2

        starts = jnp.broadcast_to(start, (400, 2))
        return jax.lax.scan(advance, starts, jax.random.split(key, 60))[1]

    for step in (0.1, 0.8):
        gaps = np.asarray(mean_gaps(jax.random.key(0), step))
        means = np.cumsum(gaps) / np.arange(1, 61)
        bound = theory.graduated_stage_bound(step, np.arange(60), L, SIGMA, VAR, gap, 5.0)
        assert (means <= bound).all()
        assert means[-1] > 0.1 * bound[-1]


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_stages_end_within_their_radius(power):
    """Gradient descent from as far as a stage may start, in the slowest and other directions."""
    num = 8
    deltas = np.append(polynomial_deltas(2.0, num, power), 0)[:num]
    np.testing.assert_allclose(deltas[-1], 2.0 * num**-power, rtol=1e-5)
    curvature = np.array([L, SIGMA])
    steps = theory.graduated_stage_num_steps(deltas[1:] / deltas[:-1], L, SIGMA)
    for last, delta, count in zip(deltas[:-1], deltas[1:], steps, strict=True):
        angles = np.linspace(0, np.pi / 2, 20)
        starts = (2 * last - delta) * np.stack([np.cos(angles), np.sin(angles)], 1)
        ends = starts * (1 - curvature / L) ** float(count)
        assert (ends**2 @ curvature / 2 <= SIGMA * delta**2 / 2).all()
        assert (np.linalg.norm(ends, axis=1) <= delta).all()
    assert steps.sum() <= 18 * num * L / SIGMA
    assert np.argmax(steps) == num - 2


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0])
def test_stages_in_all(x64, power):
    bounds = theory.graduated_bound(jnp.arange(1, 5000), power=power, **DECAY)
    last = 2.0 * np.arange(1, 5000) ** -power
    np.testing.assert_allclose(bounds, 2 * 1.4 * last + SIGMA / 2 * last**2, rtol=1e-12)
    for goal in (3.0, 0.5):
        stages = theory.graduated_num_stages(goal, power=power, **DECAY)
        assert stages == 1 + np.argmax(bounds <= goal)
    many = theory.graduated_num_stages(jnp.array([1e-5, 1e-6]), power=power, **DECAY)
    np.testing.assert_allclose(many[1] / many[0], 10 ** (1 / power), rtol=1e-4)
    assert theory.graduated_num_stages(100.0, power=power, **DECAY) == 1


# Shifts of points into the ball in which f is strongly convex

reals = st.floats(0.0625, 4, width=32)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(radius=reals, delta=reals, angle=st.floats(0, 3.140625, width=32))
def test_the_radius_is_where_the_shift_meets_the_sphere(radius, delta, angle):
    reach = float(theory.graduated_strongly_convex_radius(radius, delta, np.cos(angle)))
    x = reach * np.array([np.cos(angle), np.sin(angle)])
    if np.isnan(reach):
        misses = delta * np.sin(angle) > radius * (1 - 1e-5)
        assert misses or (np.cos(angle) < 0 and delta > radius * (1 - 1e-5))
    else:
        np.testing.assert_allclose(np.hypot(x[0] - delta, x[1]), radius, rtol=3e-3)


def test_the_sure_radius_is_sure():
    """From r − δ every direction leads into the ball; from r + δ only one."""
    u = np.random.default_rng(0).normal(size=(5000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    sure = float(theory.graduated_strongly_convex_radius(2.0, 0.5, -1.0))
    widest = float(theory.graduated_strongly_convex_radius(2.0, 0.5))
    assert (sure, widest) == (1.5, 2.5)
    for reach, share in [(sure, 1.0), (widest, 0.0)]:
        inside = np.linalg.norm(np.array([reach, 0, 0]) - 0.5 * u, axis=1) <= 2.0 + 1e-6
        assert np.mean(inside) == share


@settings(deadline=None, derandomize=True, max_examples=25)
@given(radius=reals, a=st.floats(1.125, 16, width=32), share=st.floats(0.03125, 1, width=32))
def test_ends_of_the_noise_range_lie_on_the_sphere(radius, a, share):
    tangent = np.sqrt(a**2 - 1) / a
    cosine = tangent + share * (1 - tangent)
    lowest, highest = theory.graduated_noise_range(radius, a, cosine)
    x = a * radius * np.array([cosine, np.sqrt(1 - cosine**2)])
    for delta in (lowest, highest):
        np.testing.assert_allclose(np.hypot(x[0] - delta, x[1]), radius, rtol=1e-2)
    between = (lowest + highest) / 2
    assert np.hypot(x[0] - between, x[1]) < radius
    assert lowest <= a * radius * tangent * (1 + 1e-3)
    smallest, largest = theory.graduated_radius_factor_range(a, cosine)
    np.testing.assert_allclose(largest, a * radius / lowest, rtol=1e-5)
    np.testing.assert_allclose(smallest, max(1, a * radius / highest), rtol=1e-5)
    np.testing.assert_allclose(1 / largest, admissible_decay(a, cosine), rtol=1e-6)


@pytest.mark.parametrize(("a", "dimension"), [(1.2, 2), (2.0, 3), (1.5, 6)])
def test_how_often_a_factor_exists(a, dimension):
    """d_m exists for as many directions of the noise as lead into the ball at any length."""
    u = np.random.default_rng(1).normal(size=(100_000, dimension))
    cosines = u[:, 0] / np.linalg.norm(u, axis=1)
    _, largest = theory.graduated_radius_factor_range(a, cosines)
    share = np.mean(np.isfinite(largest))
    error = sqrt(share * (1 - share) / len(u))
    assert abs(share - admissible_probability(a, dimension)) < 4 * error
    assert np.nanmin(largest) >= 1
    away = a * np.sqrt(np.maximum(1 - cosines**2, 0))  # of the line through x along u, r = 1
    np.testing.assert_allclose(share, np.mean(away <= 1), atol=1e-5)


def test_minimisers_are_followed_from_the_noise_bound_on():
    random = np.random.default_rng(2)
    here, there = random.normal(size=(2, 1000, 3))
    decay = random.uniform(0.01, 0.99, 1000)
    distances = np.linalg.norm(here, axis=1), np.linalg.norm(there, axis=1)
    delta = theory.graduated_noise_bound(decay, *distances)
    moves = np.linalg.norm(here - there, axis=1)
    assert (moves <= delta * (1 - decay) * (1 + 1e-5)).all()
    opposite = theory.graduated_noise_bound(0.75, 1.0, 2.0)
    assert opposite == 12.0  # where the minimisers lie on both sides of x*, 3 apart: 12 − 9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.graduated_stage_bound(1.2, K, **STAGE),
            "step_size must be below 2/smoothness",
        ),
        (
            lambda: theory.graduated_stage_bound(1.1, K, **STAGE | {"strong_convexity": L}),
            "step_size must be below 1/strong_convexity, got 1.1 where strong_convexity is 1.7",
        ),
        (
            lambda: theory.graduated_stage_num_steps(0.0, L, SIGMA),
            "decay must be above 0 and at most 1, got 0.0",
        ),
        (
            lambda: theory.graduated_stage_num_steps(0.5, SIGMA, L),
            "strong_convexity must be at most smoothness",
        ),
        (
            lambda: theory.graduated_bound(0, power=1.0, **DECAY),
            "num_stages must be a positive number, got 0",
        ),
        (
            lambda: theory.graduated_num_stages(0.0, power=1.0, **DECAY),
            "target must be a positive number",
        ),
        (
            lambda: theory.graduated_strongly_convex_radius(1.0, 1.0, 1.5),
            r"cos_theta must be within \[-1, 1\], got 1.5",
        ),
        (lambda: theory.graduated_noise_range(1.0, 1.0), "a must be above 1, got 1.0"),
        (lambda: theory.graduated_noise_range(0.0, 2.0), "radius must be a positive number"),
        (lambda: theory.graduated_noise_bound(1.0, 1.0, 1.0), "decay must lie between 0 and 1"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
