"""The experiment about smoothing and sharpness: its parts against NumPy, and whole runs."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxnoise as jn
from experiments._common import images_of, open_curves, replica
from experiments.smoothing_sharpness import Config, _noise, _run, _train
from experiments.smoothing_sharpness._compare import (
    CLAIMS,
    HUMPS,
    compare,
    judged,
    verdicts,
)
from experiments.smoothing_sharpness._config import fitting, plan_of
from experiments.smoothing_sharpness._correlate import Estimate, correlate, hump, kendall, spearman
from experiments.smoothing_sharpness._critical import (
    add_degrees,
    columns_of,
    critical_batches,
    critical_verdict,
    queries_to_reach,
)
from experiments.smoothing_sharpness._measure import measured, measured_starts
from experiments.smoothing_sharpness._noise import noise_at, noise_verdicts, over, rms_noise
from experiments.smoothing_sharpness._problem import problem_of
from experiments.smoothing_sharpness._report import sweep_table

SMALL = [
    "--epochs", "2", "--seeds", "2", "--examples", "64", "--test-examples", "20",
    "--batch-sizes", "4", "16", "--learning-rates", "0.05", "0.2", "--noise-gradients", "1000",
]  # fmt: skip


# Correlations


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 12), st.integers(0, 10**6))
def test_resampled_correlations_are_those_of_the_samples(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, n).astype(float), rng.normal(size=n)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=4)
    for row, tau, rho in zip(counts, kendall(x, y, counts), spearman(x, y, counts), strict=True):
        a, b = np.repeat(x, row), np.repeat(y, row)
        if np.ptp(a) and np.ptp(b):
            assert tau == pytest.approx(stats.kendalltau(a, b).statistic)
            assert rho == pytest.approx(stats.spearmanr(a, b).statistic)
        else:
            assert np.isnan(tau)
            assert np.isnan(rho)


def test_correlation_within_groups():
    rng = np.random.default_rng(0)
    group = np.repeat([1.0, 2.0, 3.0], 6)
    x, y = rng.normal(size=18) + 5 * group, rng.normal(size=18) - 5 * group
    y += 0.5 * (x - 5 * group)
    found = correlate(x, y, group)
    concordant = [
        np.sign((x[i] - x[j]) * (y[i] - y[j]))
        for i in range(18)
        for j in range(i)
        if group[i] == group[j]
    ]
    assert found.within.value == pytest.approx(np.mean(concordant))
    assert found.within.value > 0 > found.kendall.value
    assert found.kendall.value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert found.kendall.low < found.kendall.value < found.kendall.high < 0


def test_correlation_given_a_third_quantity():
    """Two quantities that go together by a third alone have little left."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=80)
    x, y = z + rng.normal(size=80) / 9, z + rng.normal(size=80) / 9
    found = correlate(x, y, given=z)
    xy, xz, yz = (stats.kendalltau(a, b).statistic for a, b in ((x, y), (x, z), (y, z)))
    partial = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert found.partial.value == pytest.approx(partial)
    assert found.kendall.value > 0.8 > 0.4 > partial
    assert found.partial.low < partial < found.partial.high


def test_runs_that_lack_a_quantity_are_left_out():
    x, y = np.array([1.0, 2, 3, np.nan, 4]), np.array([1.0, 2, 3, 9, np.nan])
    assert correlate(x, y).num == 3
    assert correlate(x, y).kendall.value == pytest.approx(1)
    nothing = correlate(np.ones(5), np.arange(5.0), np.ones(5))
    assert np.isnan([nothing.kendall.value, nothing.within.value, nothing.spearman.low]).all()


@pytest.mark.parametrize(
    ("sign", "ends", "text"),
    [
        (1, (0.1, 0.4), "as expected"), (-1, (0.1, 0.4), "against expectation"),
        (-1, (-0.4, -0.1), "as expected"), (1, (-0.1, 0.4), "not to be told from zero"),
        (0, (-0.1, 0.4), "as expected"), (0, (0.1, 0.4), "against expectation"),
        (1, (np.nan, np.nan), "no answer"), (None, (0.1, 0.4), "–"),
    ],
)  # fmt: skip
def test_judged(sign, ends, text):
    assert judged(sign, Estimate(0.3, *ends)) == text


def test_estimates():
    values = np.concatenate([[0.5], np.linspace(0, 1, 1001), [np.nan]])
    assert str(Estimate.of(values)) == "+0.50 [+0.03, +0.97]"
    assert str(Estimate()) == "–"


def test_hump():
    rng = np.random.default_rng(1)
    x = 10 ** rng.uniform(-2, 2, 60)
    y = 0.9 - 0.1 * (np.log10(x) - 0.5) ** 2 + rng.normal(size=60) / 100
    found = hump(x, y)
    design = np.vander(np.log10(x), 3)
    slow, residual, *_ = np.linalg.lstsq(design, y)
    error = np.sqrt(residual[0] / 57 * np.linalg.inv(design.T @ design)[0, 0])
    assert found["curvature"] == pytest.approx(slow[0])
    assert found["curvature_p"] == pytest.approx(2 * stats.t.sf(abs(slow[0] / error), 57))
    assert found["vertex"] == pytest.approx(10 ** (-slow[1] / (2 * slow[0])))
    z = np.log10(x)
    width = (z.max() - z.min()) / 6
    for k, (center, mean, num) in enumerate(found["bins"]):
        inside = (z >= z.min() + k * width) & (z <= z.min() + (k + 1) * width)
        assert num == inside.sum()
        assert mean == pytest.approx(y[inside].mean())
        assert np.log10(center) == pytest.approx(z[inside].mean())
    assert found["is_hump"]
    assert not hump(x, -y)["is_hump"]
    assert not hump(x, np.log10(x) - 0.05 * np.log10(x) ** 2)["is_hump"]
    assert hump(x[:9], y[:9]) == hump(x, np.ones(60)) == {}


# Degrees of smoothing


def test_queries_to_reach():
    norms = [2.0, 0.5, 0.5, 0.1]  # running means from 3: 3, 2.5, 1.833, 1.5, 1.22
    assert queries_to_reach(1.5, 3.0, norms, 10) == pytest.approx(30)
    means = np.cumsum([3.0, *norms]) / np.arange(1, 6)
    fine = np.linspace(0, 4, 400_001)
    line = np.interp(fine, np.arange(5), means)
    assert queries_to_reach(2.0, 3.0, norms, 10) == pytest.approx(10 * fine[line <= 2][0], abs=1e-3)
    assert queries_to_reach(1.0, 3.0, norms, 10) == np.inf
    assert queries_to_reach(3.5, 3.0, norms, 10) == 0
    assert queries_to_reach(1.5, 3.0, [None, None], 10) == np.inf


def sweep(norms, seeds=2):
    """Results and starts where the gradient's norm after each of the epochs is that of b."""
    starts = [
        {"noise_std": 2.0 + seed, "gradient_norm": 4.0, "smoothness": 3.0, "train_loss": 2.0}
        for seed in range(seeds)
    ]
    results = {}
    for size, path in norms.items():
        runs = [
            {
                "batch_size": size, "learning_rate": rate, "seed": seed, "steps": 3,
                "gradient_norms": path, "noise_std": 1.0, "sharpness": size * 1.0,
                "adaptive_sharpness": rate * 1.0, "train_accuracy": 1.0, "test_accuracy": 0.9,
                "train_loss": 0.1, "test_loss": 0.2, "diverged": False,
            }
            for rate in (0.1, 0.8)
            for seed in range(seeds)
        ]  # fmt: skip
        results[size] = {"runs": runs, "queries_per_epoch": 100}
    return results, starts


def test_critical_batches():
    results, starts = sweep({2: [4.0, 4.0], 8: [0.0, 0.0], 32: [1.0, 1.0], 128: [1.0, 1.0]})
    slow, fast = critical_batches(results, starts, epsilon=2.0)
    assert slow["batch_size"] == fast["batch_size"] == 8
    assert slow["queries"] == pytest.approx({2: np.inf, 8: 100, 32: 200, 128: 200})
    assert not slow["at_edge"]
    assert slow["paper"] == pytest.approx(8 * 4 / 0.1)
    assert slow["consistent"] == pytest.approx(8 * 4 * (2 - 0.3) / 0.6)
    assert np.isnan(fast["consistent"])  # Lη = 2.4
    said = critical_verdict([slow, fast], starts)
    assert "C is 2.5 as measured at the start" in said
    assert f"η = 0.1: b* = 8, C = {np.sqrt(320):.3g} or {np.sqrt(slow['consistent']):.3g};" in said
    for epsilon in (0.1, 5.0):
        row = critical_batches(results, starts, epsilon)[0]
        assert row["batch_size"] is None
        assert np.isnan(row["paper"])


def test_degrees():
    results, starts = sweep({2: [4.0, 4.0], 8: [0.0, 0.0]})
    columns = columns_of([r for found in results.values() for r in found["runs"]], starts)
    add_degrees(columns, critical_batches(results, starts, epsilon=2.0))
    slow = {name: [] for name in ("start", "end", "paper")}
    for size, rate, seed in zip(
        columns["batch_size"], columns["learning_rate"], columns["seed"], strict=True
    ):
        slow["start"].append(rate * (2 + seed) / size**0.5)
        slow["end"].append(rate / size**0.5)
        slow["paper"].append(2.0 * (rate * 8 / size) ** 0.5)  # ε√(ηb*/b)
    for name, values in slow.items():
        np.testing.assert_allclose(columns[f"delta_{name}"], values, rtol=1e-6)


def test_comparisons_and_sentences():
    results, starts = sweep({2: [4.0], 8: [0.0], 32: [1.0]}, seeds=3)
    runs = [r for found in results.values() for r in found["runs"]]
    runs[0] |= {"diverged": True, "sharpness": None}
    runs[1]["train_accuracy"] = 0.5
    columns = columns_of(runs, starts)
    columns["learnt"] = ~columns["diverged"] & (columns["train_accuracy"] >= 0.9)
    add_degrees(columns, critical_batches(results, starts, epsilon=2.0))
    everything, learnt = compare(columns, reached=0.9)
    assert (everything.num, learnt.num) == (17, 16)
    assert len(everything.correlations) == len(CLAIMS)
    assert set(everything.humps) == set(HUMPS)
    said = verdicts(columns, [everything, learnt])
    assert said[0].startswith("1 of 18 runs diverged")
    assert "η = 0.1, b = 2; 1 more have not learnt" in said[0]
    first = next(s for s in said if "Kendall's τ of worst-case sharpness" in s)
    assert "with b +1.00 (as expected)" in first
    assert "η times the number of steps" in first
    header, body = sweep_table(columns, "sharpness")
    assert header == ["b", "η = 0.1", "η = 0.8"]
    assert body[0][1].endswith("(1 diverged)")


# Measurements


@pytest.fixture(scope="module")
def plan():
    options = {"examples": 60, "test_examples": 60, "batch_sizes": (2, 4), "rho": 1e-5}
    fast = {"sharpness_batches": 2, "noise_gradients": 4000, "epochs": 2}
    return plan_of(Config(seeds=1, **fast, **options))


@pytest.fixture(scope="module")
def problem(plan):
    dataset = jn.data.load("digits")
    train, test = images_of(dataset, plan.examples, plan.test_examples)
    return problem_of("digits", train, test, plan)


@pytest.fixture(scope="module")
def point(problem):
    return replica((problem.starts.params, problem.starts.model_state), 0)


@pytest.fixture(scope="module")
def gradients(problem, point):
    """(n, d) in double precision, and the parameters (d,)."""
    per_example = jn.gradients.per_example(
        problem.starts.loss_fn(*point, jn.losses.cross_entropy), point[0], problem.probe
    )
    leaves = [np.asarray(g, float).reshape(60, -1) for g in jax.tree.leaves(per_example)]
    w = np.concatenate([np.ravel(np.asarray(p, float)) for p in jax.tree.leaves(point[0])])
    return np.concatenate(leaves, axis=1), w


def test_measured_against_numpy(problem, plan, point, gradients):
    """For so small a ρ the loss is linear: its worst increase is ρ‖g‖₁, or ρ Σ|w g|."""
    g, w = gradients
    row = measured(problem, plan, *point, start_loss=np.inf)
    mean = g.mean(0)
    noise_std = np.sqrt(np.sum((g - mean) ** 2) / 59)
    assert row["noise_std"] == pytest.approx(noise_std, rel=1e-4)
    assert row["sharpness"] == pytest.approx(1e-5 * np.abs(mean).sum(), rel=0.05)
    assert row["adaptive_sharpness"] == pytest.approx(1e-5 * np.abs(w * mean).sum(), rel=0.05)
    assert not row["diverged"]


@pytest.mark.slow
def test_starts_against_numpy(problem, plan, gradients):
    g, _ = gradients
    (start,) = measured_starts(problem, plan)
    mean = g.mean(0)
    noise_std = np.sqrt(np.sum((g - mean) ** 2) / 59)
    assert start["gradient_norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-4)
    assert start["noise_std"] == pytest.approx(noise_std, rel=1e-4)
    assert start["smoothness"] > 0


@pytest.mark.parametrize("factor", [1.0, np.nan])
def test_runs_that_diverged_are_not_measured(problem, plan, point, factor):
    params = jax.tree.map(lambda p: factor * p, point[0])
    row = measured(problem, plan, params, point[1], start_loss=0.01)
    assert row["diverged"]
    assert row["sharpness"] is row["noise_std"] is None


@pytest.mark.slow
def test_noise_at_a_point(monkeypatch, problem, plan, point, gradients):
    monkeypatch.setattr(_noise, "FACTORS", (1, 8, 64))
    g, _ = gradients
    found = noise_at(problem, plan, *point)
    n, centered = len(g), g - g.mean(0)
    assert [size["batch_size"] for size in found["sizes"]] == [2, 16]
    for size in found["sizes"]:
        b, second = size["batch_size"], np.sum(centered**2) / n
        assert size["rms"][0] == pytest.approx(np.sqrt(second / b), rel=0.05)
        without = np.sqrt(second / b * (n - b) / (n - 1))
        assert size["rms_without"][0] == pytest.approx(without, rel=0.05)
        assert 0 < size["zero"] < 1
    loss_fn = problem.starts.loss_fn(*point, jn.losses.cross_entropy)
    batches = np.random.default_rng(2).integers(n, size=(1000, 2))
    squares = np.array([np.sum(centered[rows].mean(0) ** 2) for rows in batches])
    _, mean = jn.gradients.squared_norms_and_mean(loss_fn, point[0], problem.probe)
    rms, error = rms_noise(loss_fn, point[0], problem.probe, batches, mean)
    assert rms == pytest.approx(np.sqrt(squares.mean()), rel=1e-4)
    resampled = np.random.default_rng(0).choice(squares, (2000, 1000))
    assert error == pytest.approx(np.sqrt(resampled.mean(1)).std(), rel=0.1)
    as_read = json.loads(json.dumps(found, default=lambda x: _plain(x)))
    first, second = noise_verdicts({"start": as_read})
    assert "rejected along" in first
    ratio, error = over(found["sizes"][1]["rms"], found["sizes"][0]["rms"])
    assert f"by {ratio:.3f} ± {error:.3f} (standard error); halving η by 0.5" in second


def test_ratio_of_two_rms():
    """Its error is the deviation of the ratio of two means that scatter by their errors."""
    rng = np.random.default_rng(0)
    first, later = (2.0, 0.04), (1.0, 0.01)
    ratios = rng.normal(*later, 100_000) / rng.normal(*first, 100_000)
    assert over(later, first) == pytest.approx((0.5, ratios.std()), rel=0.02)


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else dataclasses.asdict(value)


@pytest.mark.slow
def test_a_run_that_diverges_leaves_the_others_alone(problem, plan, tmp_path):
    """Beside a learning rate of 1e30 the other run is that of a plain loop."""
    plan = dataclasses.replace(plan, learning_rates=(0.05, 1e30), batch_sizes=(30,))
    starts = [{"train_loss": 10.0}]
    with open_curves(tmp_path) as curves:
        found = _train.trained(problem, plan, 30, starts, tmp_path / "batch", curves)
    good, bad = found["runs"]
    assert not good["diverged"]
    assert bad["diverged"]
    assert np.all(np.isfinite(good["gradient_norms"]))
    assert not (tmp_path / "batch").exists()
    lines = (tmp_path / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert found["queries_per_epoch"] == 60


def test_losses_are_bounded():
    class Loss:
        def metrics(self, params, model_state, batch, key):
            return {"loss": batch["x"] * params}, model_state

    batch = {"x": jnp.array([1.0, np.nan, np.inf])}
    metrics, _ = _train.bounded(Loss(), 2.0, (), batch, jax.random.key(0))
    np.testing.assert_allclose(metrics["loss"], [2.0, 1e30, 1e30])


# Settings


def test_presets_and_what_overrides_them():
    digits = plan_of(Config())
    assert (digits.network, digits.seeds, digits.learning_rates) == (
        "FeedForward", 3, (0.01, 0.05, 0.1, 0.5),
    )  # fmt: skip
    assert fitting(digits, 1438).batch_sizes == tuple(2**k for k in range(1, 11))
    assert fitting(digits, 1438).probe_batch_size == 8
    paper = plan_of(Config(preset="paper"))
    assert (paper.data, paper.network, paper.epochs) == ("cifar100", "ResNet18", 200)
    assert len(paper.learning_rates) * len(paper.batch_sizes) * paper.seeds == 156
    assert paper.augment
    plan = plan_of(Config(preset="small", data="cifar10_jpeg", network="SmallCNN", epochs=3))
    assert (plan.data, plan.network, plan.epochs, plan.examples, plan.augment) == (
        "cifar10_jpeg", "SmallCNN", 3, 4000, False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="--batch-sizes: 2, the smallest, exceeds the 1 training"):
        fitting(digits, 1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"), ("--seeds", "0"), ("--examples", "0"), ("--batch-sizes", "0"),
        ("--learning-rates", "0"), ("--rho", "0"), ("--epsilon", "0"), ("--reached", "1.5"),
        ("--sharpness-batches", "0"),
    ],
)  # fmt: skip
def test_out_of_range_is_refused(experiment, tmp_path, option, value):
    assert option in experiment.failure(option, value, "--out", tmp_path)


# Whole runs


@pytest.mark.slow
def test_whole_run_and_what_is_kept(experiment, monkeypatch, tmp_path, capsys):
    experiment(*SMALL, "--out", tmp_path)
    results = experiment.results(tmp_path)
    assert len(set(results["columns"]["train_loss"])) == 8  # two seeds at four settings
    assert list(results["noise"]) == ["start", "epoch 1", "epoch 2"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.jsonl", "noise.png", "parts", "report.html", "results.json",
        "smoothing_sharpness.png",
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "worst-case sharpness against b" in out
    assert "runs diverged" in out

    def again(*args):
        raise AssertionError("the run was finished")

    monkeypatch.setattr(_run, "trained", again)
    experiment(*SMALL, "--resume", "--reached", "0.1", "--out", tmp_path)
    assert experiment.results(tmp_path)["columns"]["sharpness"] == results["columns"]["sharpness"]
    message = experiment.failure(*SMALL, "--resume", "--rho", "1e-3", "--out", tmp_path)
    assert "rho differ" in message


@pytest.mark.slow
def test_interrupted_run_goes_on(experiment, monkeypatch, tmp_path):
    monkeypatch.setattr("experiments._common._parts.SHORT", 0)
    options = [*SMALL, "--epochs", "3", "--out"]
    experiment(*options, tmp_path / "straight")
    original, calls = _train.gradient_norms, []

    def wrapper(*args):
        calls.append(1)
        if len(calls) > 4:  # in the second epoch of the second batch size
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_train, "gradient_norms", wrapper)
        with pytest.raises(SystemExit, match="interrupted"):
            experiment(*options, tmp_path / "resumed")
    experiment(*options, tmp_path / "resumed", "--resume")
    straight, resumed = (experiment.results(tmp_path / name) for name in ("straight", "resumed"))
    assert straight["columns"] == resumed["columns"]
    assert straight["noise"] == resumed["noise"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_resnet")
def test_network_with_normalisation(experiment, monkeypatch, tmp_path):
    """However little was learnt, all is measured."""

    def high_starts(*args):
        return [row | {"train_loss": 1e9} for row in measured_starts(*args)]

    monkeypatch.setattr(_run, "measured_starts", high_starts)
    options = ["--network", "ResNet18", "--seeds", "1", "--examples", "16", "--batch-sizes", "8"]
    experiment(*SMALL, *options, "--epochs", "1", "--out", tmp_path)
    columns = experiment.results(tmp_path)["columns"]
    assert np.all(np.isfinite(np.array(columns["sharpness"], float)))


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    experiment.as_a_command(*SMALL, "--out", tmp_path)
    assert (tmp_path / "report.html").is_file()
