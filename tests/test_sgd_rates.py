"""The experiment about SGD and its bounds: its parts against NumPy, and runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from experiments.sgd_rates import Config, _run
from experiments.sgd_rates._config import parts_of, plan_of
from experiments.sgd_rates._descend import descend, measure
from experiments.sgd_rates._network import HIDDEN, network_loss, starts_of
from experiments.sgd_rates._rare_feature import rare_feature
from experiments.sgd_rates._regression import drawn_problem, exact_floor, squared_errors
from experiments.sgd_rates._report import bound_table, holding, verdicts
from experiments.sgd_rates._rows import records_of, row_of, running_mean, slope_of

SMALL = ["--seeds", "2", "--steps", "30", "--batch-sizes", "1", "4", "--examples", "60"]


@pytest.fixture
def small_problem():
    random = np.random.default_rng(0)
    return random.normal(size=(12, 3)), random.normal(size=12)


# Descent and what is measured


@pytest.mark.parametrize("batch_size", [None, 2])
def test_iterates_one_by_one(small_problem, batch_size):
    a, b = small_problem
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    steps = np.array([[0.1, 0.05, 0.02, 0.01, 0.1, 0.1], [0.2] * 6])
    starts, variances, records = (
        np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]),
        [0.5, 0.0],
        [0, 1, 4, 6],
    )
    found = descend(
        keys,
        Partial(squared_errors),
        {"a": jnp.asarray(a, jnp.float32), "b": jnp.asarray(b, jnp.float32)},
        jnp.asarray(starts, jnp.float32),
        jnp.asarray(steps, jnp.float32),
        jnp.asarray(variances, jnp.float32),
        jnp.asarray(records),
        batch_size=batch_size,
    )
    assert found.shape == (2, 2, 4, 3)
    for r in range(2):
        for s in range(2):
            x, path = starts[s], [starts[s]]
            for k in range(6):
                key = jax.random.fold_in(jax.random.fold_in(keys[s], r), k)
                rows = slice(None)
                if batch_size is not None:
                    rows = np.asarray(jax.random.randint(key, (2,), 0, 12))
                gradient = a[rows].T @ (a[rows] @ x - b[rows]) / len(b[rows])
                if batch_size is None:
                    noise = np.asarray(jax.random.normal(key, (3,)), float)
                    gradient = gradient + np.sqrt(variances[r] / 3) * noise
                x = x - steps[r, k] * gradient
                path.append(x)
            np.testing.assert_allclose(found[r, s], np.array(path)[records], rtol=1e-4, atol=1e-5)


def test_measurements_against_numpy(small_problem):
    a, b = small_problem
    points = np.random.default_rng(1).normal(size=(2, 4, 3))
    found = measure(
        Partial(squared_errors),
        {"a": jnp.asarray(a, jnp.float32), "b": jnp.asarray(b, jnp.float32)},
        jnp.asarray(points, jnp.float32),
    )
    errors = points @ a.T - b
    gradients = errors[..., None] * a
    mean = gradients.mean(-2)
    np.testing.assert_allclose(found.value, np.mean(errors**2, -1) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.squared_norm, np.sum(mean**2, -1), rtol=1e-4)
    variance = np.sum((gradients - mean[..., None, :]) ** 2, -1).mean(-1)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-4)


def test_records_are_dense_at_the_start():
    records = records_of(4000)
    assert (np.diff(records) > 0).all()
    assert (records[:4] == [0, 1, 2, 3]).all()
    assert records[-1] == 4000
    assert np.sum(records >= 2000) >= 60
    assert records_of(2).tolist() == [0, 1, 2]


def test_running_means_are_exact_where_values_are_linear_between_records():
    records = np.array([0, 1, 3, 7, 12])
    values = np.array([[5.0, 1.0, 2.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    weights = np.full(5, 0.3)
    every = np.stack([np.interp(np.arange(13), records, one) for one in values])
    expected = np.cumsum(every, 1)[:, records] / (records + 1)
    np.testing.assert_allclose(running_mean(values, weights, records), expected, rtol=1e-12)
    k = np.arange(6)
    weights = 1 / (1.0 + k)
    expected = np.cumsum(k**2 * weights) / np.cumsum(weights)
    np.testing.assert_allclose(running_mean(k**2, weights, k), expected, rtol=1e-12)


def test_a_row():
    values = np.array([[4.0, 1.0], [2.0, 3.0]])
    row = row_of("a", np.array([0, 5]), values, [6.0, 4.0], sharp=[3.0, 1.9], step_size=0.1)
    assert (row["mean"] == [3.0, 2.0]).all()
    np.testing.assert_allclose(row["error"], [1.0, 1.0])
    assert row["largest_ratio"] == row["last_ratio"] == 0.5
    assert row["largest_sharp_ratio"] == pytest.approx(2 / 1.9)
    assert not row["holds"]
    assert row_of("a", np.array([0, 5]), values, [6.0, 4.0], sharp=[3.0, 2.0])["holds"]
    assert not row_of("a", np.array([0, 5]), values, [2.9, 4.0])["holds"]


def test_slopes_and_their_errors():
    x = np.array([0.5, 1.0, 2.0, 4.0])
    exact = slope_of(x, np.array([3 * x**1.5, 3 * x**1.5]))
    assert exact["slope"] == pytest.approx(1.5)
    assert exact["error"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(slope_of(x, x[None])["error"])
    random = np.random.default_rng(0)
    slopes = [
        slope_of(x, x**1.5 * random.exponential(size=(30, 4))) for _ in range(300)
    ]  # errors that are estimated against those that there are
    spread = np.std([found["slope"] for found in slopes])
    assert np.mean([found["error"] for found in slopes]) == pytest.approx(spread, rel=0.15)


# Problems


def test_the_regression_is_what_it_says():
    problem = drawn_problem(plan_of(Config(seeds=2, steps=30)))
    np.testing.assert_allclose(problem.eigenvalues, np.geomspace(0.1, 1, 10), rtol=1e-9)
    residual = problem.a @ problem.best - problem.b
    np.testing.assert_allclose(problem.a.T @ residual, 0, atol=1e-9)
    points = problem.best + np.random.default_rng(0).normal(size=(5, 10))
    values = np.mean((points @ problem.a.T - problem.b) ** 2, 1) / 2
    np.testing.assert_allclose(problem.gaps(points), values - np.mean(residual**2) / 2, rtol=1e-9)


def test_the_exact_floor_is_what_the_recursion_ends_with():
    eigenvalues, step, variance = np.array([1.0, 0.3, 0.1]), 0.7, 2.0
    squares = np.zeros(3)
    for _ in range(2000):
        squares = (1 - step * eigenvalues) ** 2 * squares + step**2 * variance / 3
    found = exact_floor(np.array([step, 0.1]), variance, eigenvalues)
    assert found.shape == (2,)
    np.testing.assert_allclose(found[0], np.sum(eigenvalues * squares) / 2, rtol=1e-9)


@pytest.mark.slow
def test_a_rare_feature_passes_the_floor_of_the_variance_at_the_solution():
    found = rare_feature(plan_of(Config(seeds=200, steps=30)))
    assert found["variance_at_best"] == pytest.approx(1)
    assert found["exact"] == pytest.approx(0.45)
    gaps = found["gaps"]
    assert abs(gaps.mean() - 0.45) < 4 * gaps.std() / np.sqrt(200)
    assert gaps.mean() > 1.3 * 0.3
    mean_square = 2 * 0.45  # of x, and E‖∇f_i − ∇f‖² = 1 + (1/p − 1)x²
    assert found["variance_on_the_way"] == pytest.approx(1 + (1 / 0.18 - 1) * mean_square, rel=0.1)


def test_the_network_against_numpy():
    random = np.random.default_rng(2)
    inputs, label = random.normal(size=(6, 5)), random.integers(0, 3, 6)
    starts = starts_of(2, 5, 3)
    assert starts.shape == (2, HIDDEN * 6 + (HIDDEN + 1) * 3)
    x = random.normal(size=starts.shape[1])
    first = x[: 6 * HIDDEN].reshape(6, HIDDEN)
    last = x[6 * HIDDEN :].reshape(HIDDEN + 1, 3)
    assert (starts[:, :HIDDEN] == 0).all()  # biases
    scores = np.tanh(inputs @ first[1:] + first[0]) @ last[1:] + last[0]
    expected = np.log(np.exp(scores).sum(1)) - scores[np.arange(6), label]
    batch = {"inputs": jnp.asarray(inputs), "label": jnp.asarray(label)}
    np.testing.assert_allclose(network_loss(jnp.asarray(x), batch), expected, rtol=1e-4)


# What is said of them


def made_row(name, ratio, bound=2.0, **others):
    return {
        "name": name, "step_size": 0.1, "variance": 1.0, "mean": [1.0, ratio * bound],
        "error": [0.1, 0.1], "bound": [3.0, bound], "sharp": None, "holds": ratio <= 1,
        "largest_ratio": ratio, "largest_sharp_ratio": 2 * ratio, "last_ratio": ratio, **others,
    }  # fmt: skip


def test_sentences_and_tables():
    rows = [made_row("a", 0.25), made_row("b", 0.5), made_row("c", 1.5)]
    assert holding(rows).startswith("the bound is above the mean at every recorded step in 2 of 3")
    none = [made_row("a", 0.25) | {"bound": [None, None]}]
    assert holding(none) == "no setting has a bound, for γL > 1."
    header, body = bound_table([*rows, *none], "gap", sharp="sharp")
    assert len(header) == len(body[0]) == 7
    assert body[0] == ["a", "0.1", "1", "0.5 ± 0.1", "2", "0.25", "0.5"]
    assert body[3][4:6] == ["none", "–"]
    said = verdicts({"network": {"rows": rows}})
    assert len(said) == 1
    assert "estimate from below" in said[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--steps", "1"], "--steps must be at least 2, got 1"),
        (["--batch-sizes", "4", "1"], r"--batch-sizes must rise from at least 1, got \(4, 1\)"),
    ],
)
def test_wrong_options(experiment, tmp_path, options, message):
    assert re.search(message, experiment.failure(*options, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_parts_by_preset():
    assert parts_of(Config()) == ("regression", "logistic", "network")
    assert parts_of(Config(preset="full"))[-1] == "resnet"
    assert parts_of(Config(preset="full", only=("network",))) == ("network",)


# Runs


@pytest.mark.slow
def test_regression_alone(experiment, monkeypatch, tmp_path, capsys):
    options = ["--seeds", "2", "--steps", "30", "--batch-sizes", "4", "--only", "regression"]
    options += ["--out", tmp_path]
    feature = {"share": 0.18, "step_size": 0.3, "gaps": [0.4, 0.5], "exact": 0.45}
    feature |= {"variance_at_best": 1.0, "variance_on_the_way": 5.0}
    monkeypatch.setattr(_run, "rare_feature", lambda plan: feature)
    experiment(*options)
    found = experiment.results(tmp_path)["regression"]
    assert found["strong_convexity"] == pytest.approx(0.1)
    rows = found["known"]["rows"]
    assert len(rows) == 8
    assert all(row["holds"] for row in rows + found["drawn"]["rows"])
    assert np.shape(found["known"]["floors_by_step"]) == (2, 6)
    assert "linear regression" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)

    def again(plan):
        raise AssertionError("it was there already")

    monkeypatch.setattr(_run, "regression", again)
    config = Config(
        seeds=2, steps=30, batch_sizes=(4,), only=("regression",), out=tmp_path, resume=True
    )
    assert _run.computed(config, plan_of(config))["regression"] == found
    message = experiment.failure(*options, "--resume", "--steps", "40")
    assert "steps differ" in message


@pytest.mark.slow
def test_all_parts(experiment, tmp_path, capsys):
    parts = ["--only", "regression", "logistic", "network", "resnet"]
    experiment(*SMALL, *parts, "--epochs", "1", "--out", tmp_path)
    results = experiment.results(tmp_path)
    for part in ("regression", "logistic", "network", "resnet"):
        assert part in results
    for row in results["logistic"]["rows"] + results["network"]["rows"]:
        assert row["holds"] or row["bound"][-1] is None
    assert len(results["verdicts"]) == 6
    lines = (tmp_path / "curves.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.jsonl", "parts", "report.html", "results.json", "sgd_rates.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_as_a_command(experiment, tmp_path):
    said = experiment.as_a_command(*SMALL, "--out", tmp_path)
    assert "the bound is above the mean" in said
