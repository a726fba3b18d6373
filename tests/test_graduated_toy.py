"""The experiment about graduated descent on toy functions: its parts against NumPy, and runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxnoise as jn
from experiments.graduated_toy import Config, _run, _smoothness
from experiments.graduated_toy._compare import nice_verdict, sign, split_decays, verdict
from experiments.graduated_toy._config import plan_of
from experiments.graduated_toy._count import cells_of, row_of
from experiments.graduated_toy._descend import Cell, Setting, outcome, stages_of, starts_of
from experiments.graduated_toy._methods import Method, is_admissible, methods_of, rates_of_decay
from experiments.graduated_toy._problems import CASES, Case
from experiments.graduated_toy._schedules import NUM_STEPS, RATE, decay_table, schedules
from experiments.graduated_toy._search import best_setting
from experiments.graduated_toy._smoothness import Smoothness, smoothness_of
from jaxnoise.smoothing._directions import directions, seeds
from jaxnoise.smoothing.functions import Problem, rastrigin

SMALL = [
    "--functions", "multi_well", "nested_wells", "--dimensions", "1", "2", "--seeds", "2",
    "--starts", "6", "--powers", "0.5", "2", "--stages", "2", "--steps", "2", "--samples", "2",
    "--rates", "1", "--fractions", "1", "0.25",
]  # fmt: skip


# Functions


SLOW = {
    "nested_wells": lambda x: np.sum(
        x**2 / 40
        - 3 * np.exp(-((x + 4) ** 2) / 5)
        - 2 * np.exp(-((x - 4) ** 2) / 5)
        + (1 - np.cos(2 * np.pi * (x - CASES["nested_wells"].problem.coordinate))) / 2,
        axis=-1,
    ),
    "narrow_well": lambda x: np.sum(x**2 / 20 - 4 * np.exp(-2 * (x - 6) ** 2), axis=-1),
}


@pytest.mark.parametrize("name", SLOW)
def test_own_functions_and_their_minima(name):
    problem = CASES[name].problem
    points = np.random.default_rng(0).uniform(problem.lower, problem.upper, (200, 3))
    np.testing.assert_allclose(problem.function(points), SLOW[name](points), rtol=1e-4, atol=1e-4)
    line = np.linspace(problem.lower, problem.upper, 200_001)[:, None]
    values = SLOW[name](line)
    assert problem.minimum(1) <= values.min() < problem.minimum(1) + 1e-7
    assert abs(line[values.argmin(), 0] - problem.coordinate) < 1e-4
    lowest = problem.minimizer(3)
    np.testing.assert_allclose(SLOW[name](lowest), problem.minimum(3), rtol=1e-12)
    step = 1e-5 * np.eye(3)
    np.testing.assert_allclose(SLOW[name](lowest + step), SLOW[name](lowest - step), atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_descent_from_around_the_minimiser_ends_there(name):
    """So that a point in the ball is in the basin."""
    case, rng = CASES[name], np.random.default_rng(0)
    dimension = case.dimensions or 3
    normal = rng.normal(size=(60, dimension))
    radius = case.radius * rng.uniform(0.5, 1, (60, 1))
    around = radius * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    start = (case.problem.minimizer(dimension) + around).astype(np.float32)
    found = jn.smoothing.descent(
        case.problem.function, start, learning_rate=0.002, num_steps=6000, vectorized=True
    )
    np.testing.assert_allclose(found.point, case.problem.coordinate, atol=0.05)
    np.testing.assert_allclose(found.value, case.problem.minimum(dimension), atol=0.05)


# Methods


def test_decays():
    plan = plan_of(Config())
    methods = methods_of(plan)
    m = np.arange(8)
    np.testing.assert_allclose(methods["p = 0.5"].fading, np.sqrt((8 - m) / 8), rtol=1e-6)
    np.testing.assert_allclose(methods["halving"].fading, 0.5**m)
    np.testing.assert_allclose(methods["tenths"].fading, 0.1**m, rtol=1e-6)
    np.testing.assert_allclose(rates_of_decay(methods["p = 2"]), ((7 - m) / (8 - m))[:7] ** 2)
    inside, outside = split_decays(plan)
    assert (inside, outside) == (["p = 0.1", "p = 0.5"], ["p = 1", "p = 2", "halving", "tenths"])
    assert is_admissible(methods["p = 1"], 1.9)
    assert not is_admissible(Method("", "smoothed", (1.0, 1.0)), 2.0)
    assert is_admissible(Method("", "smoothed", (1.0,)), 2.0)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([2, 8]), st.floats(0.05, 4), st.floats(1.01, 20))
def test_polynomials_are_admissible_where_their_last_rate_is(stages, power, a):
    """γ_m falls, so that the last one decides: 2^−p against (a − 1)/a."""
    plan = plan_of(Config(stages=stages, powers=(power,)))
    found = is_admissible(methods_of(plan)[f"p = {power:g}"], a)
    if abs(0.5**power - (1 - 1 / a)) > 1e-5:
        assert found == (0.5**power > 1 - 1 / a)


def bowl(x):
    return 1.5 * jnp.sum(jnp.atleast_1d(x) ** 2, -1)


FLAT = Smoothness(np.array([1.0, 2.0]), np.array([6.0, 6.0]), 3.0)
BOWL = Cell(Case(Problem(bowl, -2.0, 2.0, 0.0), 0.1), 2, FLAT)
PLAN = plan_of(Config(stages=3, steps=2, samples=4))


@pytest.mark.parametrize("samples", [1, 4])
def test_stages_of_plain_descent(samples):
    """Each step multiplies by 1 − 3c/L on the way, and the end by 1 − 3/L = 0 at once."""
    start = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    method = Method("", "plain", (0.0,) * 3)
    ends = stages_of(jax.random.key(0), BOWL, method, Setting(0.25, 1), PLAN, start, samples)
    expected = [start * 0.75 ** (2 * samples * stage) for stage in (1, 2, 3)]
    np.testing.assert_allclose(ends, [*expected, 0 * start], rtol=1e-5)


def test_noise_has_the_size_that_smooths_by_delta():
    """On a quadratic: each step x → (1 − 3η)x − δu, u ~ N(0, I/d), η = c/L(δ)."""
    method, n = Method("", "noise", (1.0, 0.5, 0.0)), 4000
    start = np.ones((n, 2), np.float32)
    ends = stages_of(jax.random.key(0), BOWL, method, Setting(0.5, 0.25), PLAN, start, 4)
    assert BOWL.delta == pytest.approx(np.sqrt(2))
    eta = np.array([0.5 / 6, 0.5 / 6, 0.5 / 3])
    delta = 0.25 * np.sqrt(2) * np.array([1.0, 0.5, 0.0])
    mean, variance = 1.0, 0.0
    for stage in range(3):
        for _ in range(8):
            shrink = 1 - 3 * eta[stage]
            mean, variance = shrink * mean, shrink**2 * variance + delta[stage] ** 2 / 2
        error = np.sqrt(variance / n)
        np.testing.assert_allclose(ends[stage].mean(0), mean, atol=4.5 * error)
        np.testing.assert_allclose(ends[stage].var(0), variance, rtol=4.5 * np.sqrt(2 / n))
    np.testing.assert_allclose(ends[-1], 0, atol=1e-6)


def test_all_methods_take_as_many_gradients_as_is_said():
    counts = []

    @jax.custom_vjp
    def f(x):
        return bowl(x)

    def backward(x, g):
        jax.debug.callback(lambda: counts.append(1))
        return (g * 3 * x,)

    f.defvjp(lambda x: (bowl(x), x), backward)
    cell = Cell(Case(Problem(f, -2.0, 2.0, 0.0), 0.1), 2, FLAT)
    start = np.ones((1, 2), np.float32)
    for kind in ("plain", "noise", "smoothed"):
        for samples in (1, 4) if kind != "smoothed" else (4,):
            counts.clear()
            method = Method("", kind, (1.0, 0.5, 0.25))
            stages_of(jax.random.key(0), cell, method, Setting(1, 1), PLAN, start, samples)
            jax.effects_barrier()
            assert len(counts) == PLAN.gradients(samples) == 6 * samples + 6, kind


def test_starts_and_outcome():
    key = jax.random.key(1)
    start = np.asarray(starts_of(key, BOWL.case, 2, 4000))
    assert start.min() >= -2
    assert start.max() <= 2
    assert stats.kstest(start.ravel(), stats.uniform(-2, 4).cdf).pvalue > 1e-3
    ends = np.array([[[0.0, 0.09], [0.09, 0.09], [2.0, 0], [np.nan, 0]], np.zeros((4, 2))])
    found = outcome(BOWL, ends)
    assert found["share"] == [0.25, 1.0]
    values = [1.5 * 0.09**2, 3 * 0.09**2, 6.0, np.inf]
    np.testing.assert_allclose(found["gap"], [np.median(values), 0.0], rtol=1e-5)


def test_smoothness_against_slow_hessians(monkeypatch):
    monkeypatch.setattr(_smoothness, "MOST_NUMBERS", 16)
    key, delta, num = jax.random.key(3), 0.5, 8
    points = jnp.array([[0.1, -0.3], [1.0, 0.6], [2.2, 0.0]])
    found = smoothness_of(key, rastrigin, delta, points)
    keys = jax.random.split(key, (len(found.deltas) + 1, 3))
    slow = []
    for row, d in zip(keys, [*found.deltas, 0.0], strict=True):
        each = []
        for own, x in zip(row, points, strict=True):
            made = seeds(own, num, 2, "gaussian", "quasi_monte_carlo")
            u = np.asarray(directions(made, 2, "gaussian", jnp.float32), float)
            diagonal = 2 + 40 * np.pi**2 * np.cos(2 * np.pi * (np.asarray(x) - d * u)).mean(0)
            each.append(np.abs(diagonal).max())
        slow.append(max(each))
    every = np.array([*found.curvatures, found.curvature])
    assert (every <= 1.001 * np.array(slow)).all()
    np.testing.assert_allclose(every, slow, rtol=0.05)  # the power method is stopped early
    between = np.sqrt(found.deltas[4] * found.deltas[5])
    np.testing.assert_allclose(
        found(np.array([0.0, 1e-9, between, delta])),
        [every[-1], every[0], np.sqrt(every[4] * every[5]), every[-2]],
        rtol=1e-6,
    )


def test_search_takes_the_setting_with_most_starts():
    options = {"rates": (0.01, 1.0), "fractions": (1.0,)}
    plan = plan_of(Config(stages=2, steps=2, samples=2, starts=50, seeds=2, **options))
    cell = Cell(BOWL.case, 2, Smoothness(FLAT.deltas, 300 * FLAT.curvatures, 60.0))
    method = Method("", "plain", (0.0, 0.0))
    best, tried = best_setting(cell, method, plan, 2)
    assert (best.rate, [row["rate"] for row in tried]) == (1.0, [0.01, 1.0])
    assert tried[0]["gap"] > tried[1]["gap"]
    row = row_of(cell, method, plan, 2)
    assert np.shape(row["share"]) == np.shape(row["gap"]) == (2, 3)
    assert row["gradients"] == [4, 8, 12]


# Schedules


def test_first_steps_outside_the_admissible_region():
    """Against the schedules' formulas in double precision."""
    t = np.arange(NUM_STEPS + 1)
    cosine = (1 + np.cos(np.pi * t / NUM_STEPS)) / 2
    slow = {
        "constant": 0 * t + 1.0,
        "step, ½ every 40": 0.5 ** (t // 40),
        "exponential, 0.94": 0.94**t,
        "cosine": cosine,
        "cosine power, p = 10": (10.0 ** (cosine + 1) - 10) / (100 - 10),
        **{f"polynomial, p = {p:g}": (1 - t / NUM_STEPS) ** p for p in (0.1, 0.5, 0.9, 1, 2, 4, 8)},
    }
    table = decay_table()
    np.testing.assert_allclose(table["bounds"], [0.5, 0.9, 0.996 - np.sqrt(0.996**2 - 0.99)], 1e-6)
    assert list(slow) == list(table["first"]) == list(schedules())
    for name, values in slow.items():
        np.testing.assert_allclose(
            jax.vmap(schedules()[name])(t), RATE * values, rtol=1e-4, atol=1e-7
        )
        gamma = np.round(values[1:] / values[:-1], 12)[:-1]
        outside = [gamma >= 1, *(gamma <= bound + 1e-6 for bound in table["bounds"])]
        first = [int(np.flatnonzero(where)[0]) if where.any() else None for where in outside]
        assert table["first"][name] == first, name
    assert table["probability"][1, 2] == pytest.approx(1 - np.sqrt(3) / 2)  # of the sphere's caps


# Words


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=6))
def test_sign_is_that_of_the_paired_test(pairs):
    ours, theirs = np.array(pairs).T
    difference = ours - theirs
    found = sign(ours, theirs)
    assert found == -sign(theirs, ours)
    if np.ptp(difference) > 1e-3:
        p = stats.ttest_rel(ours, theirs).pvalue
        assert found == (np.sign(difference.mean()) if p < 0.05 else 0)


def test_sign_of_differences_without_spread():
    assert sign(np.ones(3), np.zeros(3)) == 1
    assert sign(np.zeros(3), np.zeros(3)) == 0
    assert sign(np.ones(1), np.zeros(1)) == 0


def cell(name, dimension, **share):
    rows = {
        method: {"share": np.tile(share.get(method, 0.5), (3, 2))}
        for method in methods_of(plan_of(Config()))
    }
    return {"name": name, "dimension": dimension, "gradients": rows, "steps": rows}


def test_verdict_names_who_wins_where():
    cells = [cell("f", 1, descent=0.2), cell("g", 2, descent=0.9, tenths=1.0), cell("h", 2)]
    said = verdict(cells, plan_of(Config()))
    assert said[0] == (
        "At equal numbers of gradients, graduated descent, p = 0.5, against gradient descent, "
        "reaches the global minimum from more starts in 1 of 3 cases, from fewer in 1 (g 2-D); no "
        "difference is found in 1 (h 2-D)."
    )
    assert "2 dimensions, mean share over 2 functions" in " ".join(said)
    assert "gradient descent 70.0 %" in " ".join(said)
    assert "by decay, inside the admissible region of a = 2 or outside: tenths 66.7 %" in said[-3]
    assert "With the best decay inside (p = 0.1), against the best outside (tenths)" in said[-2]
    assert said[-1].endswith(
        "in 0 of 3 cases, from fewer in 1 (g 2-D); no difference is found in 2."
    )
    assert verdict([], plan_of(Config())) == []


def test_verdict_on_niceness():
    found = {
        "follows": [True, True],
        "is_convex": [True, False],
        "is_new_nice": False,
        "is_nice": True,
    }
    (said,) = nice_verdict({"f 1-D": {"halving": found}})
    assert said.startswith("Of 1 functions")
    assert "new σ-nice open for 0 and σ-nice for 1" in said
    assert said.endswith("(i) for 1 and (ii) for 0.")
    assert nice_verdict({}) == []


def test_plan():
    plan = plan_of(Config())
    assert [plan.starts_in(d) for d in (1, 10, 100)] == [2000, 500, 50]
    full = plan_of(Config(preset="full"))
    assert [full.seeds * full.starts_in(d) for d in (1, 10, 100)] == [10_000, 10_000, 1000]
    cells = set(cells_of(plan))
    assert {("multi_well", 1), ("narrow_well", 2), ("rastrigin", 100)} <= cells
    assert not {("multi_well", 2), ("narrow_well", 10)} & cells


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seeds", "0"), ("--starts", "0"), ("--dimensions", "0"), ("--stages", "0"),
        ("--steps", "0"), ("--samples", "0"), ("--powers", "0"), ("--rates", "-1"),
        ("--fractions", "0"), ("--a", "1"), ("--functions", "nonsense"), ("--numbers", "0"),
    ],
)  # fmt: skip
def test_out_of_range_is_refused(experiment, tmp_path, option, value):
    assert option in experiment.failure(option, value, "--out", tmp_path)


# Whole runs


@pytest.mark.slow
def test_whole_run_and_its_resumption(experiment, monkeypatch, tmp_path, capsys):
    experiment(*SMALL, "--out", tmp_path)
    results = experiment.results(tmp_path)
    assert [(c["name"], c["dimension"]) for c in results["descent"]] == [
        ("multi_well", 1), ("nested_wells", 1), ("nested_wells", 2),
    ]  # fmt: skip
    row = results["descent"][2]["gradients"]["p = 0.5"]
    assert np.shape(row["share"]) == (2, 3)
    assert len(row["tried"]) == 2
    gradients = {r["gradients"][-1] for r in results["descent"][0]["gradients"].values()}
    assert gradients == {2 * 2 * 3}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.jsonl", "parts", "report.html", "results.json", "graduated_toy.png",
    }  # fmt: skip
    assert "reaches the global minimum" in capsys.readouterr().out

    def again(*args):
        raise AssertionError("the run was finished")

    for name in ("counted", "reports", "decay_table", "picture_data"):
        monkeypatch.setattr(_run, name, again)
    experiment(*SMALL, "--out", tmp_path, "--resume")
    assert experiment.results(tmp_path)["descent"] == results["descent"]
    experiment(*SMALL, "--only", "schedules", "--out", tmp_path, "--resume")
    message = experiment.failure(*SMALL, "--a", "3", "--out", tmp_path, "--resume")
    assert "a differ" in message


@pytest.mark.slow
def test_a_part_as_a_command(experiment, tmp_path):
    printed = experiment.as_a_command("--only", "schedules", "--out", tmp_path)
    assert "polynomial, p = 0.1" in printed
