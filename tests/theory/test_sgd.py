"""Bounds, step sizes and numbers of steps of SGD against the formulas written out."""

from math import ceil, exp, inf, log, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise import theory

L, MU, VAR, GAP, K, B, STEP, GOAL = 1.7, 0.6, 2.3, 3.1, 6, 5, 0.25, 0.9
NONCONVEX = {"smoothness": L, "variance": VAR, "initial_gap": GAP, "batch_size": B}
CONVEX = {"smoothness": L, "variance": VAR, "initial_squared_distance": GAP, "batch_size": B}
STRONG = NONCONVEX | {"strong_convexity": MU}
FLOOR = STEP * L * VAR / (MU * B)


def tuned(a_squared, c):
    """The least K for which a/√(K+1) + c/(K+1) ≤ GOAL, one by one."""
    return next(k for k in range(10**6) if sqrt(a_squared / (k + 1)) + c / (k + 1) <= GOAL)


def test_nonconvex():
    bound = theory.sgd_nonconvex_bound(STEP, K, **NONCONVEX)
    np.testing.assert_allclose(bound, 2 * GAP / (STEP * 7) + STEP * L * VAR / B, rtol=1e-6)
    sharp = theory.sgd_nonconvex_bound(STEP, K, **NONCONVEX, sharp=True)
    start, floor = GAP / (7 * STEP * (1 - L * STEP / 2)), L * STEP * VAR / (2 * B)
    np.testing.assert_allclose(sharp, start + floor / (1 - L * STEP / 2), rtol=1e-6)
    step = theory.sgd_nonconvex_step_size(K, **NONCONVEX)
    np.testing.assert_allclose(step, 1 / ((2 * GAP / (7 * L * VAR / B)) ** -0.5 + L), rtol=1e-6)
    bound = theory.sgd_nonconvex_tuned_bound(K, **NONCONVEX)
    np.testing.assert_allclose(
        bound, sqrt(8 * L * GAP * VAR / (B * 7)) + 2 * L * GAP / 7, rtol=1e-6
    )
    steps = theory.sgd_nonconvex_num_steps(GOAL, **NONCONVEX)
    assert steps == tuned(8 * L * GAP * VAR / B, 2 * L * GAP)
    steps = theory.sgd_nonconvex_num_steps(GOAL, **NONCONVEX, step_size=STEP)
    assert steps == ceil(2 * GAP / (STEP * (GOAL - STEP * L * VAR / B))) - 1
    size = theory.sgd_nonconvex_critical_batch_size(STEP, GOAL, L, VAR)
    np.testing.assert_allclose(size, 2 * STEP * L * VAR / GOAL, rtol=1e-6)


def test_convex():
    bound = theory.sgd_convex_bound(STEP, K, **CONVEX)
    np.testing.assert_allclose(bound, GAP / (STEP * 7) + STEP * VAR / B, rtol=1e-6)
    sharp = theory.sgd_convex_bound(STEP, K, **CONVEX, sharp=True)
    np.testing.assert_allclose(sharp, bound / 2, rtol=1e-6)
    step = theory.sgd_convex_step_size(K, **CONVEX)
    np.testing.assert_allclose(step, 1 / ((GAP / (7 * VAR / B)) ** -0.5 + 2 * L), rtol=1e-6)
    bound = theory.sgd_convex_tuned_bound(K, **CONVEX)
    np.testing.assert_allclose(bound, 2 * sqrt(VAR * GAP / (B * 7)) + 2 * L * GAP / 7, rtol=1e-6)
    steps = theory.sgd_convex_num_steps(GOAL, **CONVEX)
    assert steps == tuned(4 * VAR * GAP / B, 2 * L * GAP)
    steps = theory.sgd_convex_num_steps(GOAL, **CONVEX, step_size=STEP)
    assert steps == ceil(GAP / (STEP * (GOAL - STEP * VAR / B))) - 1
    size = theory.sgd_convex_critical_batch_size(STEP, GOAL, L, VAR)
    np.testing.assert_allclose(size, 2 * STEP * VAR / GOAL, rtol=1e-6)


def test_strongly_convex():
    left = (1 - STEP * MU) ** K
    bound = theory.sgd_strongly_convex_bound(STEP, K, **STRONG)
    np.testing.assert_allclose(bound, left * GAP + FLOOR, rtol=1e-6)
    sharp = theory.sgd_strongly_convex_bound(STEP, K, **STRONG, sharp=True)
    np.testing.assert_allclose(sharp, left * GAP + FLOOR / 2 * (1 - left), rtol=1e-6)
    for num_steps, variance in [(60, VAR), (4, 10 * VAR)]:
        problem = STRONG | {"variance": variance}
        logarithm = log(max(2, MU**2 * GAP * num_steps * B / (L * variance)))
        step = theory.sgd_strongly_convex_step_size(num_steps, **problem)
        np.testing.assert_allclose(step, logarithm / (MU * num_steps), rtol=1e-6)
        bound = theory.sgd_strongly_convex_tuned_bound(num_steps, **problem)
        floor = L * variance / (MU**2 * num_steps * B) * (1 + logarithm)
        np.testing.assert_allclose(bound, GAP * exp(-MU * num_steps / L) + floor, rtol=1e-5)
    step = theory.sgd_strongly_convex_step_size(2, **STRONG)
    np.testing.assert_allclose(step, 1 / L, rtol=1e-6)
    steps = theory.sgd_strongly_convex_num_steps(GOAL, **STRONG, step_size=STEP)
    assert steps == ceil(log(GAP / (GOAL - FLOOR)) / -log(1 - STEP * MU))
    steps = theory.sgd_strongly_convex_num_steps(0.2, **STRONG)
    step = 0.2 * MU * B / (2 * L * VAR)
    assert step < 1 / L
    assert steps == ceil(log(GAP / 0.1) / -log(1 - step * MU))


def test_decaying_steps_one_by_one():
    gammas = np.array([0.5, 0.4, 0.1, 0.25])
    nonconvex = theory.sgd_nonconvex_decaying_bound(gammas, **NONCONVEX)
    convex = theory.sgd_convex_decaying_bound(gammas / 2, **CONVEX)
    strong = theory.sgd_strongly_convex_decaying_bound(gammas, **STRONG)
    assert strong.shape == (5,)
    gap = GAP
    for k in range(4):
        used = gammas[: k + 1]
        expected = (2 * GAP + L * VAR / B * sum(used**2)) / sum(used)
        np.testing.assert_allclose(nonconvex[k], expected, rtol=1e-6)
        expected = (GAP + VAR / B * sum(used**2) / 4) / sum(used / 2)
        np.testing.assert_allclose(convex[k], expected, rtol=1e-6)
        np.testing.assert_allclose(strong[k], gap, rtol=1e-6)
        gap = (1 - gammas[k] * MU) * gap + gammas[k] ** 2 * L * VAR / (2 * B)
    np.testing.assert_allclose(strong[4], gap, rtol=1e-6)


def test_constant_steps_are_the_constant_bounds():
    steps, k = jnp.full(40, STEP), jnp.arange(40)
    for decaying, constant in [
        (
            theory.sgd_nonconvex_decaying_bound(steps, **NONCONVEX),
            theory.sgd_nonconvex_bound(STEP, k, **NONCONVEX),
        ),
        (
            theory.sgd_convex_decaying_bound(steps, **CONVEX),
            theory.sgd_convex_bound(STEP, k, **CONVEX),
        ),
        (
            theory.sgd_strongly_convex_decaying_bound(steps[1:], **STRONG),
            theory.sgd_strongly_convex_bound(STEP, k, **STRONG, sharp=True),
        ),
    ]:
        np.testing.assert_allclose(decaying, constant, rtol=1e-5)


def test_the_decaying_step_gives_one_over_k():
    k = jnp.arange(400)
    steps = theory.sgd_strongly_convex_decaying_step_size(k, L, MU)
    np.testing.assert_allclose(steps[:2], [1 / L, 2 / (MU + 2 * L)], rtol=1e-6)
    for gap in (0.0, GAP, 100.0):
        gaps = theory.sgd_strongly_convex_decaying_bound(steps, L, MU, VAR, gap)[:-1]
        closed = max(2 * L * VAR / MU**2, 2 * L * gap / MU) / (k + 2 * L / MU)
        assert (gaps <= closed * (1 + 1e-5)).all()
        assert gaps[-1] > 0.5 * closed[-1] or gap == 100.0


def test_axes_of_steps_and_of_others():
    gammas = jnp.full((3, 1, 5), 0.1)
    gaps = jnp.array([1.0, 2.0])
    for bound, args, length in [
        (theory.sgd_nonconvex_decaying_bound, (L, VAR, gaps), 5),
        (theory.sgd_convex_decaying_bound, (L, VAR, gaps), 5),
        (theory.sgd_strongly_convex_decaying_bound, (L, MU, VAR, gaps), 6),
    ]:
        found = bound(gammas, *args, batch_size=jnp.ones((4, 1, 1)))
        assert found.shape == (4, 3, 2, length)
        np.testing.assert_allclose(found[1, 2, 1], bound(gammas[2, 0], *args[:-1], 2.0), rtol=1e-6)


# Laws

sizes = st.floats(2**-6, 64, width=32)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(
    smooth=sizes,
    share=st.floats(2**-9, 1, width=32),
    noise=sizes,
    gap=sizes,
    k=st.integers(0, 10**6),
)
def test_tuned_bounds_hold_what_their_steps_promise(smooth, share, noise, gap, k):
    """The bound at the tuned step is at most the tuned bound; so is the sharp at any step."""
    args = (k, smooth, noise, gap)
    step = theory.sgd_nonconvex_step_size(*args)
    at_step = theory.sgd_nonconvex_bound(step, *args)
    assert at_step <= theory.sgd_nonconvex_tuned_bound(*args) * (1 + 1e-5)
    assert theory.sgd_nonconvex_bound(step, *args, sharp=True) <= at_step * (1 + 1e-5)
    step = theory.sgd_convex_step_size(*args)
    at_step = theory.sgd_convex_bound(step, *args)
    assert at_step <= theory.sgd_convex_tuned_bound(*args) * (1 + 1e-5)
    args = (k, smooth, smooth * share, noise, gap)
    step = theory.sgd_strongly_convex_step_size(*args)
    assert step * smooth <= 1 + 1e-5
    at_step = theory.sgd_strongly_convex_bound(step, *args)
    tuned_bound = theory.sgd_strongly_convex_tuned_bound(*args)
    assert at_step <= tuned_bound * (1 + 1e-5) or k == 0  # where theorem 3 counts noise nobody saw
    assert theory.sgd_strongly_convex_bound(step, *args, sharp=True) <= at_step * (1 + 1e-5)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    smooth=sizes,
    share=st.floats(2**-6, 1, width=32),
    noise=sizes,
    gap=sizes,
    goal=sizes,
    batch=sizes,
)
def test_numbers_of_steps_are_enough_and_no_more(smooth, share, noise, gap, goal, batch):
    with jax.enable_x64(True):
        for num_steps, tuned_bound in [
            (theory.sgd_nonconvex_num_steps, theory.sgd_nonconvex_tuned_bound),
            (theory.sgd_convex_num_steps, theory.sgd_convex_tuned_bound),
        ]:
            k = num_steps(goal, smooth, noise, gap, batch_size=batch)
            bounds = tuned_bound(
                jnp.array([k, k - 1]).clip(0), smooth, noise, gap, batch_size=batch
            )
            assert bounds[0] <= goal * (1 + 1e-12)
            assert k == 0 or bounds[1] > goal * (1 - 1e-12)
        args = (smooth, share * smooth, noise, gap)
        step = min(1 / smooth, goal * share * smooth * batch / (2 * smooth * noise))
        for options in ({}, {"step_size": step}):
            k = theory.sgd_strongly_convex_num_steps(goal, *args, batch_size=batch, **options)
            counts = jnp.array([k, k - 1]).clip(0)
            bounds = theory.sgd_strongly_convex_bound(step, counts, *args, batch_size=batch)
            assert bounds[0] <= goal * (1 + 1e-9)
            assert k == 0 or bounds[1] > goal * (1 - 1e-9)


@pytest.mark.parametrize("setting", ["nonconvex", "convex"])
def test_the_critical_batch_size_costs_the_fewest_examples(x64, setting):
    """The numbers of steps are whole, so let them be large."""
    goal, step = 1e-6, 1e-3
    num_steps = getattr(theory, f"sgd_{setting}_num_steps")
    critical = float(getattr(theory, f"sgd_{setting}_critical_batch_size")(step, goal, L, VAR))
    batches = critical * np.array([0.4, 0.5, 0.9, 1.0, 1.1, 2.0, 10.0])
    examples = batches * num_steps(goal, L, VAR, GAP, step_size=step, batch_size=batches)
    assert np.argmin(examples) == 3
    assert examples[0] == inf
    np.testing.assert_allclose(examples[5], examples[3] * 4 / 3, rtol=1e-6)  # b²/(2b − 1) at 2


def test_the_sharp_critical_batch_size_is_the_inverse_of_the_variance():
    from jaxnoise.gradients import variance_from_critical_batch

    size = theory.sgd_nonconvex_critical_batch_size(STEP, GOAL, L, VAR, sharp=True)
    variance = variance_from_critical_batch(size, sqrt(GOAL), STEP, smoothness=L)
    np.testing.assert_allclose(variance, VAR, rtol=1e-5)


BOUNDS = [
    (theory.sgd_nonconvex_bound, NONCONVEX),
    (theory.sgd_convex_bound, CONVEX),
    (theory.sgd_strongly_convex_bound, STRONG),
]
TUNED = [
    (theory.sgd_nonconvex_tuned_bound, NONCONVEX),
    (theory.sgd_convex_tuned_bound, CONVEX),
    (theory.sgd_strongly_convex_tuned_bound, STRONG),
]


@pytest.mark.parametrize(("bound", "problem"), BOUNDS)
@pytest.mark.parametrize("sharp", [False, True])
def test_monotone(bound, problem, sharp):
    k = jnp.array([0, 1, 2, 10, 100, 10**6])
    over = {
        "num_steps": bound(STEP, k, **problem, sharp=sharp),
        "batch_size": bound(STEP, K, **problem | {"batch_size": k + 1}, sharp=sharp),
        "variance": -bound(STEP, K, **problem | {"variance": k / 10}, sharp=sharp),
    }
    for name, values in over.items():
        assert (np.diff(values) < 0).all(), name
    floor = [bound(step, 10**9, **problem, sharp=sharp) for step in (STEP, STEP / 2)]
    np.testing.assert_allclose(floor[0] / floor[1], 2, rtol=0.2 if sharp else 1e-3)  # ∝ γ
    floor = [bound(STEP, 10**9, **problem | {"batch_size": b}, sharp=sharp) for b in (1, 8)]
    np.testing.assert_allclose(floor[0] / floor[1], 8, rtol=1e-4)  # ∝ 1/B


@pytest.mark.parametrize(("bound", "problem"), TUNED)
def test_rates_with_and_without_noise(bound, problem):
    k = jnp.array([1e9, 4e9])
    noisy, silent = (bound(k, **problem | {"variance": v}) for v in (VAR, 0.0))
    if "strong_convexity" in problem:
        np.testing.assert_allclose(noisy[0] / noisy[1], 4, rtol=0.1)  # up to the logarithm
        few = bound(jnp.array([10.0, 20.0]), **problem | {"variance": 0.0})
        np.testing.assert_allclose(few[1] / few[0], exp(-10 * MU / L), rtol=1e-5)
    else:
        np.testing.assert_allclose(noisy[0] / noisy[1], 2, rtol=1e-3)
        np.testing.assert_allclose(silent[0] / silent[1], 4, rtol=1e-5)


def test_units():
    """f in units of α, x in units of β: every bound, step size and count follows."""
    alpha, beta = 7.0, 3.0
    units = {
        "smoothness": alpha / beta**2, "strong_convexity": alpha / beta**2,
        "variance": (alpha / beta) ** 2, "initial_gap": alpha, "batch_size": 1.0,
        "initial_squared_distance": beta**2,
    }  # fmt: skip
    unit_of_step = beta**2 / alpha
    for (bound, problem), (tuned_bound, _), unit in zip(
        BOUNDS, TUNED, ((alpha / beta) ** 2, alpha, alpha), strict=True
    ):
        scaled = {name: value * units[name] for name, value in problem.items()}
        name = bound.__name__.removesuffix("_bound")
        ratio = bound(STEP * unit_of_step, K, **scaled) / bound(STEP, K, **problem)
        np.testing.assert_allclose(ratio, unit, rtol=1e-5)
        ratio = tuned_bound(K, **scaled) / tuned_bound(K, **problem)
        np.testing.assert_allclose(ratio, unit, rtol=1e-5)
        step_size, num_steps = (getattr(theory, f"{name}_{x}") for x in ("step_size", "num_steps"))
        ratio = step_size(K, **scaled) / step_size(K, **problem)
        np.testing.assert_allclose(ratio, unit_of_step, rtol=1e-5)
        assert num_steps(GOAL * unit, **scaled) == num_steps(GOAL, **problem)


# Edges


def test_nothing_to_gain_and_nothing_random():
    assert theory.sgd_nonconvex_step_size(5, L, 0.0, 0.0) == pytest.approx(1 / L)
    assert theory.sgd_nonconvex_step_size(5, L, VAR, 0.0) == 0
    assert theory.sgd_nonconvex_bound(0.0, 5, L, VAR, 0.0) == 0
    assert theory.sgd_nonconvex_bound(0.0, 5, L, VAR, GAP) == inf
    assert theory.sgd_nonconvex_tuned_bound(5, L, VAR, 0.0) == 0
    assert theory.sgd_nonconvex_num_steps(GOAL, L, VAR, 0.0) == 0
    assert theory.sgd_convex_step_size(0, L, 0.0, GAP) == pytest.approx(1 / (2 * L))
    assert theory.sgd_convex_step_size(0, L, VAR, 0.0) == 0
    assert theory.sgd_convex_bound(0.0, 0, L, VAR, 0.0) == 0
    for args in [(0, L, MU, VAR, GAP), (9, L, MU, 0.0, GAP), (9, L, MU, 0.0, 0.0)]:
        assert theory.sgd_strongly_convex_step_size(*args) == pytest.approx(1 / L)
    assert theory.sgd_strongly_convex_tuned_bound(0, L, MU, VAR, GAP) == pytest.approx(GAP)
    assert theory.sgd_strongly_convex_bound(1 / L, 0, L, L, VAR, GAP, sharp=True) == GAP
    assert theory.sgd_strongly_convex_bound(1 / L, 1, L, L, 0.0, GAP) == 0
    assert theory.sgd_strongly_convex_num_steps(GOAL, L, L, 0.0, GAP) == 1
    assert theory.sgd_strongly_convex_num_steps(GAP, L, MU, 0.0, GAP) == 0


def test_targets_below_the_floor_are_out_of_reach():
    assert theory.sgd_nonconvex_num_steps(STEP * L * VAR, L, VAR, GAP, step_size=STEP) == inf
    assert theory.sgd_convex_num_steps(STEP * VAR / 2, L, VAR, GAP, step_size=STEP) == inf
    floor = STEP * L * VAR / MU
    steps = theory.sgd_strongly_convex_num_steps(
        jnp.array([floor * 0.99, floor * 1.01]), L, MU, VAR, GAP, step_size=STEP
    )
    np.testing.assert_array_equal(jnp.isinf(steps), [True, False])


def test_traced_vectorised_and_differentiated():
    steps = jnp.array([[10.0], [1000.0]])
    batches = jnp.array([1, 8, 64])
    grid = theory.sgd_nonconvex_tuned_bound(steps, L, VAR, GAP, batch_size=batches)
    assert grid.shape == (2, 3)

    def bound(step, k, batch):
        return theory.sgd_convex_bound(step, k, L, VAR, GAP, batch_size=batch)

    grid = jax.jit(jax.vmap(bound, (None, None, 0)))(STEP, 10, batches)
    np.testing.assert_allclose(grid, bound(STEP, 10, batches), rtol=1e-6)
    slope = jax.grad(bound)(STEP, 10.0, 8.0)
    np.testing.assert_allclose(slope, -GAP / (11 * STEP**2) + VAR / 8, rtol=1e-5)
    for step_size in (theory.sgd_nonconvex_step_size, theory.sgd_convex_step_size):
        slope = jax.grad(step_size, argnums=1)(10.0, L, 0.0, GAP)
        np.testing.assert_allclose(slope, -(1 if "non" in step_size.__name__ else 0.5) / L**2)
    slope = jax.grad(theory.sgd_strongly_convex_step_size, argnums=1)(10.0, L, MU, 0.0, GAP)
    np.testing.assert_allclose(slope, -1 / L**2, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.sgd_nonconvex_bound(0.6, K, L, VAR, GAP),
            "step_size must be at most 1/smo",
        ),
        (
            lambda: theory.sgd_nonconvex_bound(2 / L, K, L, VAR, GAP, sharp=True),
            "step_size must be below 2/smoothness",
        ),
        (
            lambda: theory.sgd_convex_bound(0.3, K, L, VAR, GAP),
            "step_size must be at most 0.5/smoothness, got 0.3 where smoothness is 1.7",
        ),
        (
            lambda: theory.sgd_strongly_convex_bound(0.1, K, 1.0, 1.1, VAR, GAP),
            "strong_convexity must be at most smoothness, got 1.1 where smoothness is 1.0",
        ),
        (lambda: theory.sgd_nonconvex_bound(0.1, -1, L, VAR, GAP), "num_steps must be finite and"),
        (
            lambda: theory.sgd_nonconvex_bound(0.1, K, 0.0, VAR, GAP),
            "smoothness must be a positive",
        ),
        (lambda: theory.sgd_convex_step_size(K, L, -1.0, GAP), "variance must be finite and not"),
        (lambda: theory.sgd_convex_tuned_bound(K, L, VAR, np.nan), "initial_squared_distance must"),
        (lambda: theory.sgd_convex_num_steps(0.0, L, VAR, GAP), "target must be a positive number"),
        (
            lambda: theory.sgd_convex_num_steps(1.0, L, VAR, GAP, step_size=1.0),
            "step_size must be at most 0.5/smoothness",
        ),
        (
            lambda: theory.sgd_nonconvex_step_size(K, L, VAR, GAP, batch_size=0),
            "batch_size must be a positive number, got 0",
        ),
        (
            lambda: theory.sgd_nonconvex_decaying_bound(0.1, L, VAR, GAP),
            r"step_sizes must be an array \(…, steps\)",
        ),
        (
            lambda: theory.sgd_strongly_convex_decaying_bound([0.1, 0.7], L, MU, VAR, GAP),
            "step_size must be at most 1/smoothness",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
