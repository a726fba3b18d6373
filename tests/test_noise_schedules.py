"""The experiment about schedules of the noise: its parts against NumPy, and whole runs."""

import json
import re

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxnoise as jn
from experiments._common import crop_flip_turn, open_curves, replica, standardized
from experiments.noise_schedules import Config, _imagenet, _run, _train
from experiments.noise_schedules._compare import (
    against_rates,
    compared,
    departure,
    held,
    small_powers_against,
    smoothing,
    sum_of_rates,
)
from experiments.noise_schedules._config import plan_of
from experiments.noise_schedules._methods import METHODS, measured_stage, runs_of, stages_of
from experiments.noise_schedules._problem import problem_of
from experiments.noise_schedules._schedules import rates_of, schedules, trained_side_by_side
from experiments.noise_schedules._verdict import methods_verdict, rates_verdict, schedules_verdict
from jaxnoise.schedules import NoiseStage

SMALL = [
    "--epochs", "4", "--stages", "2", "--seeds", "2", "--examples", "40", "--test-examples", "20",
    "--probe-examples", "8", "--batch-size", "8", "--grow-from", "4", "--hybrid-from", "4",
]  # fmt: skip
TITLES = list(schedules(0.1, 5))


# Stages


def test_stages_of_the_paper():
    plan = plan_of(Config(preset="paper"))
    task = plan.tasks[0]
    sizes = {
        start: {m: [s.batch_size for s in stages_of(one, plan)] for m, one in runs.items()}
        for start in ("own", "equal")
        for runs in [runs_of(task, start, plan)]
    }
    assert sizes["own"] == {
        "constant": [128] * 5,
        "decay_lr": [128] * 5,
        "grow_batch": [16, 32, 64, 128, 256],
        "hybrid": [32, 48, 72, 108, 162],
        "measured": [32, 48, 72, 108, 162],
    }
    assert {m: of[0] for m, of in sizes["equal"].items()} == dict.fromkeys(METHODS, 16)
    for start in ("own", "equal"):
        for method, one in runs_of(task, start, plan).items():
            stages = stages_of(one, plan)
            assert [s.epochs for s in stages] == [40] * 5
            strength = np.array([s.learning_rate / s.batch_size**0.5 for s in stages])
            factor = 1 if method == "constant" else 2**-0.5
            np.testing.assert_allclose(strength / strength[0], factor ** np.arange(5), rtol=0.01)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 1), st.floats(0.1, 10)), min_size=1, max_size=5),
    st.integers(1, 64),
    st.floats(0.01, 1),
)
def test_measured_stage(seeds, size, limit):
    """δ of each seed is what it should be, or the learning rate is at its limit."""
    deltas, noise = np.array(seeds).T
    previous = (np.full(len(seeds), 0.1), NoiseStage(3, 0.1, size))
    plan = plan_of(Config(max_learning_rate=limit, min_batch_size=2))
    rates, stage = measured_stage(deltas, noise, previous, plan, num_examples=64)
    assert stage.epochs == 3
    assert 2 <= stage.batch_size <= max(2, min(64, 1.5 * size))
    reached = rates * noise / np.sqrt(stage.batch_size)
    at_limit = np.isclose(rates, limit)
    np.testing.assert_allclose(reached[~at_limit], deltas[~at_limit], rtol=1e-6)
    assert (reached <= deltas * (1 + 1e-6)).all()
    assert (rates <= limit).all()


def slow_schedules(peak, epochs):
    """The learning rates of the epochs, from the definitions in float64."""
    t = np.arange(epochs)
    cosine = (1 + np.cos(t * np.pi / epochs)) / 2
    return {
        **{
            f"polynomial, p = {p:g}": peak * (1 - t / epochs) ** p
            for p in (0.1, 0.5, 0.9, 1, 2, 4, 8)
        },
        "cosine": peak * cosine,
        "cosine power": peak * (10 ** (cosine + 1) - 10) / (10**2 - 10),
        "step": peak * 0.5 ** (t // (epochs / 5)),
        "exponential": peak * 0.94 ** (t * 200 / epochs),
        "constant": np.full(epochs, peak),
    }


def test_schedules():
    epochs = 20
    slow = slow_schedules(0.3, epochs)
    assert len(slow) == 12
    rates = dict(zip(schedules(0.3, epochs), rates_of(0.3, epochs), strict=True))
    assert set(rates) == set(slow)
    for title, values in slow.items():
        np.testing.assert_allclose(rates[title], values, rtol=2e-5, atol=1e-8, err_msg=title)


# Training


@pytest.fixture(scope="module")
def plan():
    options = {"examples": 31, "test_examples": 5, "probe_examples": 6, "seeds": 2}
    sizes = {"batch_size": 8, "grow_from": 4, "hybrid_from": 4}
    return plan_of(Config(**options, **sizes, stages=2, epochs=4))


@pytest.fixture(scope="module")
def problem(plan):
    return problem_of(jn.data.load("digits"), plan, plan.tasks[0])


def test_noise_of_each_seed(problem):
    starts = problem.starts
    found = problem.noise_stds(starts.params, starts.model_state)
    for seed in range(2):
        w = replica(starts.params, seed)
        loss_fn = starts.loss_fn(w, starts.model_state, jn.losses.cross_entropy)
        gradients = jn.gradients.per_example(loss_fn, w, problem.probe)
        g = [np.asarray(x, float).reshape(6, -1) for x in jax.tree.leaves(gradients)]
        slow = np.sqrt(sum(np.var(x, axis=0, ddof=1).sum() for x in g))
        assert found[seed] == pytest.approx(slow, rel=1e-4)
    assert found[0] != found[1]


@pytest.mark.slow
def test_schedules_side_by_side_are_trainings_by_stages(problem, plan, tmp_path):
    """Each schedule has its own learning rates; an epoch is a stage."""
    with open_curves(tmp_path) as curves:
        rows = trained_side_by_side(problem, plan, plan.tasks[0], tmp_path / "parts", curves)
    assert list(rows) == TITLES
    starts, rates = problem.starts, rates_of(0.1, 4)
    title, seed = "polynomial, p = 2", 1
    params, model_state = replica((starts.params, starts.model_state), seed)
    alone = jn.training.fit(
        starts.keys[seed],
        starts.train_loss,
        params,
        model_state,
        optax.sgd,
        problem.train,
        [NoiseStage(1, float(rate), 8) for rate in rates[TITLES.index(title)]],
        test_data=problem.test,
        progress=False,
    )
    row = rows[title]
    for metric in ("train_loss", "test_loss", "test_accuracy"):
        np.testing.assert_allclose(row[metric][seed], getattr(alone.history, metric), rtol=1e-5)
    assert len({str(found["train_loss"]) for found in rows.values()}) == 12
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert len(lines) == 12 * 2 * 4
    name = "digits_FeedForward_polynomial__p___2"
    (line,) = [x for x in lines if (x["run"], x["replica"], x["epoch"]) == (name, 1, 3)]
    assert line["train loss"] == pytest.approx(row["train_loss"][1, 2])


def test_stages_one_after_another(problem, plan, tmp_path):
    """All recorded stages against calls of `fit`; after the first one C decides."""
    one = runs_of(plan.tasks[0], "own", plan)["measured"]
    with open_curves(tmp_path) as curves:
        row = _train.trained(problem, plan, one, tmp_path / "parts", curves)
    starts = problem.starts
    params, model_state = replica((starts.params, starts.model_state), 1)
    losses = []
    for number, size in enumerate(row["batch_sizes"]):
        result = jn.training.fit(
            jax.random.fold_in(starts.keys[1], number),
            starts.train_loss,
            params,
            model_state,
            optax.sgd(float(row["learning_rates"][number][1])),
            problem.train,
            NoiseStage(2, 1.0, size),
            progress=False,
        )
        params, model_state = result.params, result.model_state
        losses += result.history.train_loss.tolist()
    np.testing.assert_allclose(row["train_loss"][1], losses, rtol=1e-5)
    np.testing.assert_array_equal(row["learning_rates"][0], 0.1)
    assert np.shape(row["noise_stds"]) == (3, 2)
    degrees = smoothing(row, "measured", plan.decay)
    at_limit = np.isclose(row["learning_rates"][1], plan.max_learning_rate)
    met = np.isclose(degrees["begin"][1], degrees["intended"][1], rtol=1e-5)
    assert (met | at_limit).all()
    steps = [-(-31 // size) for size in row["batch_sizes"] for _ in range(2)]
    assert row["steps"] == np.cumsum(steps).tolist()
    queries = np.cumsum(np.multiply(steps, np.repeat(row["batch_sizes"], 2)))
    assert row["gradient_queries"] == queries.tolist()
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [x["steps"] for x in lines if x["replica"] == 0] == row["steps"]
    assert [x["epoch"] for x in lines if x["replica"] == 0] == [1, 2, 3, 4]


def test_cifar_is_standardized_and_augmented():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    batch = {"image": image, "label": np.arange(40, dtype=np.int32) % 3}
    mean, std = [0.50708, 0.48655, 0.44092], [0.26733, 0.25644, 0.27615]
    slow = (image.astype(float) / 255 - mean) / std
    np.testing.assert_allclose(standardized(batch), slow, rtol=1e-5, atol=1e-5)
    dataset = jn.data.Dataset(batch, batch, jn.data.DatasetInfo("cifar100", "source", "text"))
    sizes = {"batch_size": 8, "grow_from": 1, "hybrid_from": 4}
    plan = plan_of(Config(data=("cifar100",), seeds=1, **sizes))
    coloured = problem_of(dataset, plan, plan.tasks[0])
    assert coloured.starts.inputs is standardized
    assert coloured.augment is crop_flip_turn


def test_batches_must_fit():
    plan = plan_of(Config(examples=60, grow_from=4))
    with pytest.raises(ValueError, match=r"has 162 examples, the training set 60: lower --grow"):
        problem_of(jn.data.load("digits"), plan, plan.tasks[0])


# Comparisons


def row(accuracy, loss=None, *, noise=None, diverged_at=None, rates=(0.1, 0.1), sizes=(4, 4)):
    """What is recorded of a run of two stages of an epoch, one accuracy for each seed."""
    accuracy = np.asarray(accuracy, float)
    loss = 1 - accuracy if loss is None else np.asarray(loss, float)
    seeds = len(accuracy)
    return {
        "diverged_at": diverged_at,
        "batch_sizes": list(sizes),
        "learning_rates": [[rate] * seeds for rate in rates],
        "noise_stds": np.ones((3, seeds)) if noise is None else noise,
        "steps": [10, 30],
        "test_accuracy": np.stack([accuracy / 2, accuracy], 1),
        "train_loss": np.stack([loss * 2, loss], 1),
    }


def methods_of(**accuracy):
    rng = np.random.default_rng(0)
    return {m: row(accuracy.get(m, rng.uniform(0.9, 1, 3))) for m in METHODS}


def test_degrees_of_smoothing():
    rng = np.random.default_rng(0)
    noise = rng.uniform(1, 3, (3, 4))
    one = row([0.9] * 4, noise=noise, rates=(0.1, 0.05), sizes=(4, 9))
    for method, decay in (("hybrid", 0.5), ("constant", 1.0)):
        found = smoothing(one, method, 0.5)
        for m, (rate, size) in enumerate(((0.1, 4), (0.05, 9))):
            for seed in range(4):
                begin, end = (rate * noise[k, seed] / size**0.5 for k in (m, m + 1))
                meant = 0.1 * noise[0, seed] / 2 * decay**m
                assert found["begin"][m, seed] == pytest.approx(begin)
                assert found["end"][m, seed] == pytest.approx(end)
                assert found["intended"][m, seed] == pytest.approx(meant)
        logs = np.log(found["begin"][1] / found["intended"][1])
        assert departure(found) == pytest.approx(np.exp(np.linalg.norm(logs) / 2))
        assert held(found) == (sum(abs(np.exp(x) - 1) <= 0.05 for x in logs), 4)


def test_sum_of_rates():
    assert sum_of_rates(row([0.9] * 3, rates=(0.1, 0.05))) == pytest.approx(10 * 0.1 + 20 * 0.05)
    by_epoch = {"learning_rates": [0.3, 0.1], "steps": [4, 8]}
    assert sum_of_rates(by_epoch) == pytest.approx(4 * 0.3 + 4 * 0.1)


def test_losses_are_compared_by_their_ratio():
    rng = np.random.default_rng(0)
    ours, theirs = rng.uniform(0.1, 1, (2, 4))
    pair = compared(row([0.9] * 4, ours), row([0.8, 0.7, 0.8, 0.9], theirs))
    assert pair["train_loss"]["mean"] == pytest.approx(np.mean(np.log(ours / theirs)))
    p = stats.ttest_1samp(np.log(ours / theirs), 0).pvalue
    assert pair["train_loss"]["p_value"] == pytest.approx(p)
    assert pair["test_accuracy"]["mean"] == pytest.approx(0.1)
    assert compared(row([0.9], diverged_at=3), row([0.8]))["train_loss"] is None


def test_claimed_orders_in_words():
    spread = np.array([0.0, 0.001, 0.003])
    rows = methods_of(
        constant=0.8 + spread, decay_lr=0.85 + spread[::-1], grow_batch=0.95 + spread,
        hybrid=0.951 + spread[::-1], measured=0.9 + spread,
    )  # fmt: skip
    accuracy, loss, measured, degrees = methods_verdict("here", "own", rows, 0.5)
    assert "4 over 3 +0.10 ± 0.30 points (p = 0.62, not to be told from zero)" in accuracy
    assert "Of the 3 steps 3 are found, 0 go the other way" in accuracy
    assert "Of the 2 steps 1 is found, 0 go the other way" in loss
    assert "-5.10 ± 0.30 points of test accuracy" in measured
    assert "a factor of typically 2 away" in degrees
    assert "within 5 % of it at 0 of 3 (" in degrees
    assert "the others are 1: 1, 2: 2, 3: 2, 4: 2." in degrees
    rows["grow_batch"] = row(0.7 + spread)
    accuracy, loss, *_ = methods_verdict("here", "own", rows, 0.5)
    assert "Of the 3 steps 2 are found, 1 goes the other way" in accuracy
    rows["hybrid"] = row(0.7 + spread, diverged_at=5)
    accuracy, _, measured, _ = methods_verdict("here", "own", rows, 0.5)
    assert "4 over 3 – points (diverged)" in accuracy
    assert "Of the 3 steps 1 is found" in accuracy
    assert "– points of test accuracy (diverged)" in measured
    rows["measured"] = row(0.9 + spread, diverged_at=15, noise=np.ones((2, 3)))
    *_, degrees = methods_verdict("here", "own", rows, 0.5)
    assert "not known with 5, which finished no later stage; the factors" in degrees


def test_small_powers_against_the_others():
    rng = np.random.default_rng(0)
    rows = {title: row(rng.uniform(0.8, 0.9, 4)) for title in TITLES}
    for row_of in rows.values():
        row_of["learning_rates"] = rng.uniform(0, 1, 2)
    found = small_powers_against(rows)
    assert list(found) == TITLES[4:]
    small = np.mean([rows[title]["test_accuracy"][:, -1] for title in TITLES[:4]], axis=0)
    difference = small - rows["step"]["test_accuracy"][:, -1]
    np.testing.assert_allclose(found["step"]["test_accuracy"]["difference"], difference)
    rows["cosine"] = row([0.1, 0.11, 0.12, 0.1])
    accuracy, loss = schedules_verdict("here", rows)
    assert re.search(r"than [1-8] of the 8 others \(.*cosine.*\), worse", accuracy)
    assert "over constant (" in loss
    rank = against_rates(rows, "train_loss")
    sums = [sum_of_rates(rows[title]) for title in TITLES]
    ends = [rows[title]["train_loss"][:, -1].mean() for title in TITLES]
    assert rank == pytest.approx(stats.spearmanr(sums, ends).statistic)
    assert f"is {rank:+.2f} with the training loss" in rates_verdict("here", rows)[0]
    assert rates_verdict("here", dict(list(rows.items())[:2])) == []


def test_presets_and_what_overrides_them():
    digits = plan_of(Config())
    assert digits.seeds == digits.stages == 5
    assert [(t.data, t.network) for t in digits.tasks] == [("digits", "FeedForward")]
    small = plan_of(Config(preset="small", network=("SmallCNN",), data=("cifar10_jpeg", "mnist")))
    assert [(t.data, t.network) for t in small.tasks] == [
        ("cifar10_jpeg", "SmallCNN"), ("mnist", "SmallCNN"),
    ]  # fmt: skip
    paper = plan_of(Config(preset="paper"))
    assert [(t.data, t.network, t.epochs) for t in paper.tasks] == [
        ("cifar100", "ResNet18", 200), ("cifar100", "WideResNet", 200),
    ]  # fmt: skip
    assert paper.tasks[0].examples is None


# Whole runs


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"), ("--epochs", "7"), ("--seeds", "0"), ("--stages", "0"),
        ("--examples", "0"), ("--batch-size", "0"), ("--grow-from", "0"), ("--hybrid-from", "0"),
        ("--min-batch-size", "0"),
        ("--learning-rate", "0"), ("--max-learning-rate", "0"), ("--probe-examples", "1"),
        ("--decay", "1"),
    ],
)  # fmt: skip
def test_out_of_range_is_refused(experiment, tmp_path, option, value):
    assert option in experiment.failure(option, value, "--out", tmp_path)


@pytest.mark.slow
def test_whole_run(experiment, monkeypatch, tmp_path, capsys):
    """Its files; runs that begin alike are alike until they part; it goes on from its parts."""
    experiment(*SMALL, "--out", tmp_path)
    results = experiment.results(tmp_path)
    (cell,) = results["cells"]
    assert list(cell["schedules"]) == TITLES
    runs = cell["methods"]["equal"]["runs"]
    assert list(runs) == list(METHODS)
    first = {m: np.array(found["train_loss"])[:, :2].tolist() for m, found in runs.items()}
    assert all(losses == first["constant"] for losses in first.values())
    assert runs["constant"]["train_loss"] != runs["decay_lr"]["train_loss"]
    assert runs["grow_batch"] == cell["methods"]["own"]["runs"]["grow_batch"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.jsonl", "digits_FeedForward_rates.png", "digits_FeedForward_schedules.png",
        "digits_FeedForward_stages.png", "parts", "report.html", "results.json",
    }  # fmt: skip
    assert all(path.suffix == ".json" for path in (tmp_path / "parts").iterdir())
    out = capsys.readouterr().out
    assert "test accuracy 4 ≥ 3 > 2 > 1" in out
    assert "polynomials of p ≤ 1" in out

    def again(*args):
        raise AssertionError("the run was finished")

    monkeypatch.setattr(_run, "trained", again)
    monkeypatch.setattr(_run, "trained_side_by_side", again)
    experiment(*SMALL, "--out", tmp_path, "--resume")
    assert experiment.results(tmp_path)["cells"] == results["cells"]
    message = experiment.failure(*SMALL, "--decay", "0.5", "--out", tmp_path, "--resume")
    assert "decay differ" in message


@pytest.mark.slow
def test_imagenet_is_read_while_it_trains(experiment, monkeypatch, tmp_path):
    """On noise in place of the images, smaller than those, and a small network."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)

    def stream(name, split, data_dir, *, image_size):
        assert (name, image_size) == ("imagenet2012", 12)
        data = jn.data.Stream(range(30), lambda i: {"image": images[i], "label": np.int32(i % 3)})
        info = jn.data.DatasetInfo(name, "here", "noise", num_classes=5)
        parts = (data, None) if split == "train" else (None, data)
        return jn.data.Dataset(*parts, info)

    monkeypatch.setattr(jn.data, "stream", stream)
    monkeypatch.setattr(_imagenet, "STORED", 12)
    monkeypatch.setattr(_imagenet, "SEEN", 8)
    options = ["--preset", "paper", "--data", "imagenet", "--network", "FeedForward"]
    few = ["--stages", "1", "--epochs", "1", "--seeds", "1", "--examples", "20"]
    experiment(*SMALL, *options, *few, "--only", "methods", "--out", tmp_path)
    (cell,) = experiment.results(tmp_path)["cells"]
    assert (cell["problem"]["num_train"], cell["problem"]["num_test"]) == (20, 20)
    assert np.isfinite(cell["methods"]["own"]["runs"]["hybrid"]["test_loss"]).all()


def test_stages_on_imagenet():
    plan = plan_of(Config(preset="paper", data=("imagenet",)))
    assert [task.network for task in plan.tasks] == ["ResNet34"]
    grown = stages_of(runs_of(plan.tasks[0], "own", plan)["grow_batch"], plan)
    assert [stage.batch_size for stage in grown] == [32, 64, 128, 256, 512]


def test_imagenet_must_be_there(experiment, tmp_path):
    options = ["--preset", "paper", "--data", "imagenet", "--data-dir", tmp_path / "none"]
    assert "'imagenet2012' is neither a local file nor prepared" in experiment.failure(*options)


@pytest.mark.slow
def test_interrupted_run_goes_on(experiment, monkeypatch, tmp_path):
    """From the second stage of a method, and, by checkpoints, from among the schedules by epoch."""
    monkeypatch.setattr("experiments._common._parts.SHORT", 0)
    options = [*SMALL, "--out"]
    experiment(*options, tmp_path / "straight")
    original = _run.Curves.log

    def interrupted(after):
        calls = []

        def log(*args):
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            original(*args)

        with monkeypatch.context() as patch:
            patch.setattr(_run.Curves, "log", log)
            with pytest.raises(SystemExit, match="interrupted"):
                experiment(*options, tmp_path / "resumed", "--resume")

    interrupted(after=6)
    interrupted(after=36)
    experiment(*options, tmp_path / "resumed", "--resume")
    cells = [experiment.results(tmp_path / name)["cells"][0] for name in ("straight", "resumed")]
    for cell in cells:
        runs = [of for start in cell["methods"].values() for of in start["runs"].values()]
        for found in [*runs, *cell["schedules"].values()]:
            del found["seconds"]
    assert cells[0] == cells[1]


@pytest.mark.slow
def test_divergence_is_reported(experiment, tmp_path, capsys):
    options = ["--learning-rate", "1e9", "--only", "methods", "--out", tmp_path]
    experiment(*SMALL, *options)
    (cell,) = experiment.results(tmp_path)["cells"]
    assert all(of["diverged_at"] is not None for of in cell["methods"]["own"]["runs"].values())
    assert "4 over 3 – points (diverged)" in capsys.readouterr().out


@pytest.mark.slow
def test_diverging_schedules_are_one_line(experiment, tmp_path):
    options = ["--learning-rate", "1e9", "--only", "schedules", "--out", tmp_path]
    assert "not finite at step" in experiment.failure(*SMALL, *options)


@pytest.mark.slow
@pytest.mark.usefixtures("small_resnet")
def test_network_with_normalisation(experiment, tmp_path):
    """C is measured in its running statistics."""
    options = ["--network", "ResNet18", "--examples", "12", "--epochs", "1", "--stages", "1"]
    experiment(*SMALL, *options, "--only", "methods", "--out", tmp_path)
    (cell,) = experiment.results(tmp_path)["cells"]
    assert np.all(np.isfinite(cell["methods"]["own"]["runs"]["measured"]["noise_stds"]))


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    assert "report.html written" in experiment.as_a_command(*SMALL, "--out", tmp_path)
