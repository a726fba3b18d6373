"""The experiment about small batches: its parts against NumPy, and whole runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxnoise as jn
from experiments._common import open_curves, paired, replica, significance, what_seeds_can_tell
from experiments.small_batch import Config, _run, _train
from experiments.small_batch._compare import (
    batch_verdict,
    comparisons,
    noise_ratios,
    points,
    verdict,
)
from experiments.small_batch._config import plan_of, stages_of
from experiments.small_batch._methods import METHODS, mean_step, optimizer
from experiments.small_batch._problem import held_out, normalised, problem_of
from experiments.small_batch._train import Run

SMALL = [
    "--epochs", "1", "--seeds", "2", "--examples", "40", "--test-examples", "20",
    "--noise-examples", "4",
]  # fmt: skip


def row(accuracy, noise=None, diverged_at=None):
    """What is recorded of a run that ends with these accuracies, one for each seed."""
    curves = [[0.1, x] for x in accuracy]
    return {
        "learning_rate": 0.1, "diverged_at": diverged_at, "test_accuracy": curves,
        "train_loss": curves, "noise": noise or {},
    }  # fmt: skip


def rows_of(seeds=3, **accuracy):
    rng = np.random.default_rng(0)
    return {m: row(accuracy.get(m, rng.uniform(0.9, 1, seeds))) for m in METHODS}


# Optimizers against NumPy


def slow_path(method, family, rates, gradients, start, period, weight, decay, epoch_length):
    """The iterates in float64, from the definitions."""
    form = METHODS[method]
    w, anchor = start, start
    m, v = np.zeros_like(start), np.zeros_like(start)
    path = []
    for t, g in enumerate(gradients):
        k = (t % epoch_length if form.by_epoch else t) % period
        if k == 0:
            anchor = w
        pull = {None: 0, "constant": weight, "reference": 2 * weight * rates[0] / rates[t]}
        d = g + pull[form.pull] * (w - anchor) + decay * w
        step = rates[t] / (k + 1) if form.inner else rates[t]
        if family == "sgd":
            m = 0.9 * m + d
            w = w - step * m
        else:
            m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d**2
            scale = np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8
            w = w - step * m / (1 - 0.9 ** (t + 1)) / scale
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("family", ["sgd", "adam"])
@pytest.mark.parametrize("method", METHODS)
def test_optimizers(method, family):
    options = {"period": 3, "weight": 0.5, "epoch_length": 5}
    rates = np.array([0.1] * 5 + [0.01] * 5)
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=4), rng.normal(size=(10, 4))
    epoch_length = options["epoch_length"] if METHODS[method].by_epoch else None
    make = optimizer(METHODS[method], family, 0.2, epoch_length)
    schedule = optax.piecewise_constant_schedule(1.0, {5: 0.1})

    @jax.jit
    def path_of(w, gradients, values):
        transformation = make(schedule, **values)

        def step(carry, g):
            w, state = carry
            updates, state = transformation.update(g, state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        return jax.lax.scan(step, (w, transformation.init(w)), gradients)[1]

    values = {"learning_rate": 0.1, "weight": options["weight"], "period": options["period"]}
    path = path_of(jnp.array(start), jnp.array(gradients), values)
    slow = slow_path(method, family, rates, gradients, start, decay=0.2, **options)
    np.testing.assert_allclose(path, slow, rtol=2e-5, atol=2e-6)


def test_rates_of_runs():
    task = plan_of(Config()).tasks[0]
    assert mean_step(10) == pytest.approx(0.29290, abs=1e-5)
    runs = {m: Run(task, "sgd", 8, m, 10) for m in METHODS}
    assert runs["paper"].learning_rate == runs["base"].learning_rate == 0.03
    assert runs["mean_step"].learning_rate == pytest.approx(0.03 * mean_step(10))
    assert Run(task, "adam", 8, "base", 10, 0.3).learning_rate == pytest.approx(3e-4)
    searched = Run(task, "sgd", 8, "base", 10, 0.3, searching=True)
    others = [Run(task, "sgd", 8, m, 5) for m in METHODS]
    names = [r.name for r in [*runs.values(), searched, *others]]
    assert len(set(names)) == 2 * len(METHODS) + 1 - 2  # base and best_rate know no S


@given(st.integers(1, 400))
def test_stages(epochs):
    stages = stages_of(epochs, 8)
    assert sum(stage.epochs for stage in stages) == epochs
    lengths = [stage.epochs for stage in stages]
    assert lengths == sorted(lengths, reverse=True)
    rates = [stage.learning_rate for stage in stages]
    np.testing.assert_allclose(rates, [1, 0.1, 0.01][: len(rates)])
    if epochs % 4 == 0:
        assert lengths == [epochs // 2, epochs // 4, epochs // 4]


# Comparisons


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_paired_test(seeds):
    rng = np.random.default_rng(seeds)
    ours, theirs = rng.normal(size=(2, seeds))
    pair = paired(ours, theirs)
    d = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = sum(d) / seeds
    std = (sum((x - mean) ** 2 for x in d) / (seeds - 1)) ** 0.5
    t = mean / (std / seeds**0.5)
    expected = {"mean": mean, "std": std, "p_value": 2 * stats.t.sf(abs(t), seeds - 1)}
    assert {key: pair[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], "equal"),
        ([0.9, 0.8, 0.7], np.array([0.9, 0.8, 0.7]) - 0.1, "no test"),
        ([0.9], [0.8], "no test"),
        ([0.9, 0.92, 0.8], [0.5, 0.51, 0.42], "p = 0.00049"),
        ([0.9, 0.92, 0.8], [0.9, 0.8, 0.9], "p = 0.93, not to be told from zero"),
    ],
)
def test_significance_in_words(ours, theirs, text):
    assert significance(paired(np.array(ours), np.array(theirs))).startswith(text)


def test_points():
    assert points(None) == "–"
    assert points(paired(np.array([0.9]), np.array([0.9 + 1e-9]))) == "+0.00"
    assert points(paired(np.array([0.9, 0.93]), np.array([0.9, 0.9]))) == "+1.50 ± 2.12"


def test_what_seeds_can_tell():
    """Against many experiments whose true difference is one deviation."""
    rng = np.random.default_rng(0)
    d = rng.normal(1, 1, size=(200_000, 3))
    ratio = np.abs(d.mean(1)) / d.std(1, ddof=1)
    found = stats.ttest_1samp(d[:1000], 0, axis=1).pvalue < 0.05
    np.testing.assert_array_equal(found, ratio[:1000] > 2.4841)
    assert f"{100 * np.mean(ratio > 2.4841):.0f} %" in what_seeds_can_tell(3)
    assert "above 2.5 standard deviations" in what_seeds_can_tell(3)
    assert "no test" in what_seeds_can_tell(1)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=len(METHODS), max_size=len(METHODS)),
        min_size=2,
        max_size=4,
    )
)
def test_parts_and_what_is_left_add_up(seeds):
    rows = {m: row(a) for m, a in zip(METHODS, np.transpose(seeds), strict=True)}
    for gains in comparisons(rows)["forms"].values():
        parts = [np.array(gains[key]["difference"]) for key in ("pull", "schedule", "left_over")]
        np.testing.assert_allclose(sum(parts), gains["gain"]["difference"], atol=1e-12)
        control = np.array(gains["over_mean_step"]["difference"])
        np.testing.assert_allclose(
            control + gains["mean_step"]["difference"], gains["gain"]["difference"], atol=1e-12
        )
    ends = {m: np.array(r["test_accuracy"])[:, -1] for m, r in rows.items()}
    tuned = comparisons(rows)["forms"]["reference"]["best_over_best"]["difference"]
    np.testing.assert_array_equal(tuned, ends["reference_best"] - ends["best_rate"])


def test_verdict_names_what_diverged():
    rows = rows_of(base=[0.9, 0.8, 0.85], paper=[0.95, 0.86, 0.9], pull=[0.9, 0.8, 0.85])
    paper, _ = verdict("here", "sgd", rows)
    assert paper.startswith(
        "here, TRSGD, paper form: +5.33 ± 0.58 points of test accuracy over SGD"
    )
    assert "pull alone gives +0.00 ± 0.00 (equal)" in paper
    rows["paper"]["diverged_at"] = 7
    paper, reference = verdict("here", "adam", rows)
    assert paper == "here, TRAdam, paper form: no comparison, TRAdam, paper form diverged."
    assert "no comparison" not in reference
    rows["pull"]["diverged_at"] = 7
    assert comparisons(rows)["forms"]["reference"]["left_over"] is not None
    assert comparisons(rows)["forms"]["paper"]["left_over"] is None


def test_noise_ratios():
    rng = np.random.default_rng(1)
    noise = {
        m: {key: rng.uniform(1, 2, (3, 4)) for key in ("covariance_trace", "loss")}
        for m in ("base", "paper", "mean_step")
    }
    noise["paper"]["covariance_trace"] *= 10
    rows = {m: row([0.9] * 3, noise.get(m)) for m in METHODS}
    found = noise_ratios(rows)
    assert list(found) == ["paper", "mean_step"]
    ratio = noise["paper"]["covariance_trace"] / noise["base"]["covariance_trace"]
    by_seed = [np.prod(r) ** (1 / 4) for r in ratio]
    np.testing.assert_allclose(found["paper"]["by_seed"], by_seed)
    np.testing.assert_allclose(found["paper"]["ratio"], np.prod(by_seed) ** (1 / 3))
    np.testing.assert_allclose(
        found["paper"]["p_value"], stats.ttest_1samp(np.log(by_seed), 0).pvalue
    )
    sentence = verdict("here", "sgd", rows)[-1]
    assert f"is {found['paper']['ratio']:.3g} times" in sentence
    assert "(larger, p = " in sentence
    assert f"mean step it is {found['mean_step']['ratio']:.3g} times" in sentence
    rows["base"]["diverged_at"] = 3
    assert noise_ratios(rows) == {}


def test_gain_by_batch_size():
    cells = {
        8: rows_of(base=[0.9] * 3, paper=[0.91] * 3, reference=[0.92] * 3),
        2: rows_of(base=[0.8] * 3, paper=[0.85] * 3, reference=[0.81] * 3),
    }
    cells = [_run.Cell(None, "sgd", size, 10, rows) for size, rows in cells.items()]
    paper, reference = batch_verdict("here", cells)
    assert "2: +5.00 ± 0.00, 8: +1.00 ± 0.00. The gain is largest at the smallest" in paper
    assert "not largest" in reference
    assert batch_verdict("here", cells[:1]) == []


# Problems


@pytest.fixture(scope="module")
def problem():
    options = {"examples": 31, "test_examples": 5, "noise_examples": 4, "seeds": 2}
    plan = plan_of(Config(**options))
    return problem_of(jn.data.load("digits"), plan, plan.tasks[0])


def test_held_out_examples(problem):
    kept, held = held_out(problem.train)
    assert (len(kept["label"]), len(held["label"])) == (24, 7)
    together = np.concatenate([kept["image"], held["image"]])
    np.testing.assert_array_equal(together, problem.train["image"])


def test_noise_along_the_way(problem):
    """tr Σ, ‖ḡ‖² and loss of each seed's own parameters."""
    starts = problem.starts
    found = _train.noise_of(problem, starts.params, starts.model_state, 2)
    for seed in range(2):
        w = replica(starts.params, seed)
        loss_fn = starts.loss_fn(w, starts.model_state, jn.losses.cross_entropy)
        gradients = jn.gradients.per_example(loss_fn, w, problem.subset)
        leaves = [np.asarray(g, float).reshape(4, -1) for g in jax.tree.leaves(gradients)]
        g = np.concatenate(leaves, axis=1)
        slow = {
            "covariance_trace": np.trace(
                np.cov(g @ np.linalg.svd(g, full_matrices=False)[2].T, rowvar=False)
            ),
            "gradient_squared_norm": np.sum(g.mean(0) ** 2),
            "loss": np.mean(np.asarray(loss_fn(w, problem.subset), float)),
        }
        assert {key: values[seed] for key, values in found.items()} == pytest.approx(slow, rel=1e-4)
    assert found["loss"][0] != found["loss"][1]


def test_pull_has_no_noise(problem):
    """tr Σ of the gradients of f + λ/2 ‖w − a‖² is that of f's, wherever w and a are."""
    starts = problem.starts
    w, anchor = replica(starts.params, 0), replica(starts.params, 1)
    ratio = _train.noise_with_pull(problem, w, starts.model_state, anchor, weight=3.0)
    assert ratio == pytest.approx(1, abs=1e-4)


def test_cifar_is_normalised_cropped_and_mirrored():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    batch = {"image": image, "label": np.arange(12, dtype=np.int32) % 3}
    mean, std = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
    slow = (image.astype(float) / 255 - mean) / std
    np.testing.assert_allclose(normalised(batch), slow, rtol=1e-5, atol=1e-5)
    dataset = jn.data.Dataset(batch, batch, jn.data.DatasetInfo("cifar10", "source", "description"))
    plan = plan_of(Config(data=("cifar10",), seeds=1))
    coloured = problem_of(dataset, plan, plan.tasks[0])
    assert coloured.augment is not None
    assert coloured.starts.inputs is normalised


def test_batch_must_fit(problem):
    plan = plan_of(Config(examples=20, batch_sizes=(2, 17)))
    with pytest.raises(ValueError, match="--batch-sizes: 17 exceeds the 16 of 20 training"):
        problem_of(jn.data.load("digits"), plan, plan.tasks[0])


def test_presets_and_what_overrides_them():
    digits = plan_of(Config())
    assert (digits.seeds, digits.batch_sizes, digits.periods) == (5, (8,), (10,))
    assert [(t.data, t.network) for t in digits.tasks] == [("digits", "FeedForward")]
    small = plan_of(Config(preset="small"))
    assert [t.data for t in small.tasks] == ["mnist"]
    paper = plan_of(Config(preset="paper"))
    (task,) = paper.tasks
    assert (task.network, task.epochs, task.examples, paper.seeds) == ("ResNet18", 200, None, 5)
    assert task.learning_rates == {"sgd": 0.1, "adam": 1e-3}
    assert (paper.weight, paper.weight_decay) == (0.1, 1e-4)
    options = {"data": ("a", "b"), "network": ("SmallCNN",), "learning_rate": 0.5, "epochs": 2}
    plan = plan_of(Config(preset="small", **options))
    assert [(t.data, t.network, t.epochs) for t in plan.tasks] == [
        ("a", "SmallCNN", 2), ("b", "SmallCNN", 2),
    ]  # fmt: skip
    assert plan.tasks[0].learning_rates["sgd"] == 0.5


# Whole runs


@pytest.mark.slow
def test_every_method_is_the_base_where_s_is_one(experiment, monkeypatch, tmp_path, capsys):
    """A whole run, whose results are read back; with S = 1 all methods are SGD, bit for bit."""
    options = [*SMALL, "--only", "sgd", "--periods", "1", "--grid", "1", "--out", tmp_path]
    experiment(*options)
    results = experiment.results(tmp_path)
    (cell,) = results["cells"]
    assert list(cell["runs"]) == list(METHODS)
    base = cell["runs"]["base"]
    assert np.shape(base["train_loss"]) == (2, 1)
    for method, found in cell["runs"].items():
        assert found["train_loss"] == base["train_loss"], method
        assert found["test_accuracy"] == base["test_accuracy"], method
    assert np.shape(base["noise"]["covariance_trace"]) == (2, 1)
    assert cell["noise"]["paper"]["ratio"] == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.jsonl", "parts", "report.html", "results.json", "small_batch.png",
    }  # fmt: skip
    assert all(path.suffix == ".json" for path in (tmp_path / "parts").iterdir())
    out = capsys.readouterr().out
    assert "over SGD, points" in out
    assert "(equal)" in out

    def again(*args):
        raise AssertionError("the run was finished")

    monkeypatch.setattr(_run, "trained", again)
    monkeypatch.setattr(_run, "at_best_rate", again)
    experiment(*options, "--resume")
    assert experiment.results(tmp_path)["cells"] == results["cells"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"), ("--seeds", "0"), ("--examples", "0"), ("--batch-sizes", "0"),
        ("--periods", "0"), ("--grid", "0"), ("--learning-rate", "0"), ("--weight", "-1"),
        ("--noise-examples", "1"),
    ],
)  # fmt: skip
def test_out_of_range_is_refused(experiment, tmp_path, option, value):
    assert option in experiment.failure(option, value, "--out", tmp_path)


@pytest.mark.slow
def test_sweeps_and_option_two(experiment, tmp_path, capsys):
    options = [
        "--batch-sizes",
        "4",
        "8",
        "--periods",
        "2",
        "3",
        "--option-two",
        "--grid",
        "0.1",
        "1",
    ]
    experiment(*SMALL, *options, "--only", "sgd", "--out", tmp_path)
    results = experiment.results(tmp_path)
    assert [(c["batch_size"], c["period"]) for c in results["cells"]] == [
        (4, 2), (4, 3), (8, 2), (8, 3),
    ]  # fmt: skip
    assert sum("test accuracy by" in title for title in results["tables"]) == 4
    for cell in results["cells"]:
        has_draw = [m for m, found in cell["runs"].items() if "drawn_test_accuracy" in found]
        assert has_draw == ["paper", "reference", "paper_best", "reference_best"]
        tried = cell["runs"]["best_rate"]["tried"]
        best = max(tried, key=lambda f: (tried[f]["accuracy"], -tried[f]["loss"]))
        assert cell["runs"]["best_rate"]["factor"] == float(best)
    assert "by batch size: 4: " in capsys.readouterr().out


@pytest.mark.slow
def test_interrupted_run_goes_on(experiment, monkeypatch, tmp_path):
    monkeypatch.setattr("experiments._common._parts.SHORT", 0)
    options = [*SMALL, "--only", "adam", "--grid", "1", "--epochs", "3", "--out"]
    experiment(*options, tmp_path / "straight")
    original, calls = _train.noise_of, []

    def wrapper(*args):
        calls.append(1)
        if len(calls) > 4:  # in the second epoch of the second optimizer
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_train, "noise_of", wrapper)
        with pytest.raises(SystemExit, match="interrupted"):
            experiment(*options, tmp_path / "resumed")
    experiment(*options, tmp_path / "resumed", "--resume")
    cells = [experiment.results(tmp_path / name)["cells"][0] for name in ("straight", "resumed")]
    for cell in cells:
        for found in cell["runs"].values():
            del found["seconds"]
    assert cells[0] == cells[1]
    message = experiment.failure(*options, tmp_path / "resumed", "--resume", "--weight", "1")
    assert "weight differ" in message


@pytest.mark.slow
def test_divergence_is_reported(experiment, tmp_path, capsys):
    options = ["--only", "sgd", "--learning-rate", "1e9", "--grid", "1e-12", "1"]
    experiment(*SMALL, *options, "--out", tmp_path)
    (cell,) = experiment.results(tmp_path)["cells"]
    assert cell["runs"]["base"]["diverged_at"] is not None
    assert cell["runs"]["best_rate"]["factor"] == 1e-12
    assert cell["noise"] == {}
    assert "no comparison, SGD and TRSGD, paper form diverged" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("small_resnet")
def test_network_with_normalisation(tmp_path):
    """tr Σ is measured with its state."""
    options = {"examples": 10, "test_examples": 5, "noise_examples": 4, "seeds": 2, "epochs": 1}
    plan = plan_of(Config(network=("ResNet18",), option_two=True, **options))
    (task,) = plan.tasks
    problem = problem_of(jn.data.load("digits"), plan, task)
    run = Run(task, "sgd", 8, "paper", 10)
    with open_curves(tmp_path) as curves:
        row = _train.trained(problem, plan, run, tmp_path / "parts", curves)
    assert np.shape(row["noise"]["covariance_trace"]) == (2, 1)
    assert np.isfinite(row["noise"]["covariance_trace"]).all()
    assert np.shape(row["drawn_test_accuracy"]) == (2,)


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    experiment.as_a_command(*SMALL, "--out", tmp_path)
    assert [cell["family"] for cell in experiment.results(tmp_path)["cells"]] == ["sgd", "adam"]
