"""The experiment about vanishing gradients: its parts against NumPy, and whole runs."""

import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import jaxnoise as jn
from experiments._common import begin, remembered
from experiments.vanishing_gradients import Config, _logistic, _networks, _run, _toy
from experiments.vanishing_gradients._config import plan_of
from experiments.vanishing_gradients._keep import Trajectory, write_iterate
from experiments.vanishing_gradients._measure import THRESHOLDS, by_name, claim, vanishing_numbers
from experiments.vanishing_gradients._report import verdicts

SMALL = ["--epochs", "1", "--seeds", "2", "--examples", "64", "--subset", "8"]
DENSE = [*SMALL, "--networks", "FeedForward"]


@pytest.fixture
def regression():
    """80 examples of 5 features, labels ±1 that no plane divides, λ = 0.01."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 5)).astype(np.float32)
    label = np.where(features[:, 0] + rng.normal(size=80) > 0, 1, -1).astype(np.float32)
    return features, label, 0.01


def component_gradients(w, features, label, weight_decay):
    rows = []
    for x, y in zip(features.astype(float), label.astype(float), strict=True):
        rows.append(-y * x / (1 + np.exp(y * x @ w)) + weight_decay * w)
    return np.array(rows)


def test_objective(regression):
    objective = _logistic.Objective(*regression)
    features, label, weight_decay = regression
    w = np.random.default_rng(1).normal(size=5)
    value, gradient = objective.value_and_gradient(w)
    losses = [
        np.log1p(np.exp(-y * x @ w))
        for x, y in zip(features.astype(float), label.astype(float), strict=True)
    ]
    np.testing.assert_allclose(value, np.mean(losses) + weight_decay / 2 * w @ w, rtol=1e-12)
    slow = component_gradients(w, *regression).mean(0)
    np.testing.assert_allclose(gradient, slow, rtol=1e-10, atol=1e-14)
    h = 1e-5
    columns = [
        (objective.value_and_gradient(w + h * e)[1] - objective.value_and_gradient(w - h * e)[1])
        / (2 * h)
        for e in np.eye(5)
    ]
    np.testing.assert_allclose(objective.hessian(w), np.array(columns), rtol=1e-6, atol=1e-9)


def test_solution_is_that_of_another_solver(regression):
    objective = _logistic.Objective(*regression)
    w = _logistic.solve(objective)
    assert np.linalg.norm(component_gradients(w, *regression).mean(0)) <= 1e-8
    features, label, weight_decay = regression
    other = LogisticRegression(
        C=1 / (len(label) * weight_decay), fit_intercept=False, tol=1e-10, max_iter=1000
    ).fit(features.astype(float), label)
    np.testing.assert_allclose(w, other.coef_[0], rtol=1e-5)


def test_newton_steps_finish(regression, monkeypatch):
    objective = _logistic.Objective(*regression)
    best = _logistic.solve(objective)

    def nowhere(function, start, **options):
        return types.SimpleNamespace(x=start)

    monkeypatch.setattr(_logistic.scipy.optimize, "minimize", nowhere)
    np.testing.assert_allclose(_logistic.solve(objective), best, atol=1e-6)


def test_solution_that_is_not_reached_is_refused(regression, monkeypatch):
    monkeypatch.setattr(_logistic, "TOLERANCE", 0.0)
    with pytest.raises(ValueError, match=r"stays above 0e\+00: scale the features"):
        _logistic.solve(_logistic.Objective(*regression))


def test_components_of_logistic_regression(regression):
    features, label, weight_decay = regression
    w = np.random.default_rng(2).normal(size=5).astype(np.float32)
    loss_fn = jax.tree_util.Partial(_logistic.logistic_loss, jnp.float32(weight_decay))
    norms = jn.gradients.squared_norms(
        loss_fn, jnp.asarray(w), {"features": features, "label": label}
    )
    slow = np.sum(component_gradients(w.astype(float), *regression) ** 2, axis=1)
    np.testing.assert_allclose(norms, slow, rtol=2e-5)


@pytest.mark.parametrize(
    ("train", "features", "label"),
    [
        ({"features": np.eye(3), "label": np.array([2, 1, 2])}, np.eye(3), [1, -1, 1]),
        (
            {"image": np.full((3, 1, 1, 1), 51, np.uint8), "label": np.array([0, 3, 4])},
            np.full((3, 1), 0.2),
            [1, -1, 1],
        ),
    ],
    ids=["two classes", "even against odd"],
)
def test_two_classes(train, features, label):
    info = jn.data.DatasetInfo("name", "source", "description")
    found = _logistic.binary(jn.data.Dataset(train, None, info))
    np.testing.assert_allclose(found[0], features, rtol=1e-6)
    np.testing.assert_array_equal(found[1], label)


def test_three_classes_are_refused():
    info = jn.data.DatasetInfo("name", "source", "description")
    train = {"features": np.eye(3), "label": np.arange(3)}
    with pytest.raises(ValueError, match="--data name: it has 3 classes, not two"):
        _logistic.binary(jn.data.Dataset(train, None, info))


def test_mini_batches():
    """The mean gradients of the batches of a random partition, the last examples left out."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(11, 3)).astype(np.float32), rng.normal(size=11).astype(np.float32)
    w = rng.normal(size=3).astype(np.float32)
    norms = _networks.batch_squared_norms(
        lambda w, batch: 0.5 * (batch["x"] @ w - batch["label"]) ** 2,
        jnp.asarray(w),
        {"x": jnp.asarray(x), "label": jnp.asarray(y)},
        batch_size=2,
        seed=5,
    )
    gradients = (x.astype(float) @ w - y)[:, None] * x
    order = np.random.default_rng(5).permutation(11)
    slow = [np.sum(gradients[order[2 * i : 2 * i + 2]].mean(0) ** 2) for i in range(5)]
    np.testing.assert_allclose(norms, slow, rtol=1e-5)


def test_batch_sizes_leave_sixteen_batches():
    assert _networks.batch_sizes(1) == [1]
    assert _networks.batch_sizes(255) == [1, 4]
    assert _networks.batch_sizes(256) == [1, 4, 16]


def test_toy():
    cases = _toy.toy()
    near, far = cases.values()
    for case in cases.values():
        weight, minimiser = (
            np.array(case["components"][k], float) for k in ("weight", "minimiser")
        )
        best = (weight * minimiser).mean(0) / weight.mean(0)
        np.testing.assert_allclose(case["optimum"], best, atol=1e-5)
        norms = np.sum((weight * (best - minimiser)) ** 2, axis=1)
        np.testing.assert_allclose(case["mean_squared_norm"], norms.mean(), rtol=1e-4)
    assert near["late_distance"] < 0.02 < 0.2 < far["late_distance"]


def test_toy_path():
    rng = np.random.default_rng(0)
    weight, minimiser = rng.uniform(0.5, 2, (5, 2)), rng.normal(size=(5, 2))
    order = [4, 0, 0, 3]
    components = {"weight": jnp.array(weight), "minimiser": jnp.array(minimiser)}
    path = _toy.sgd_path(jnp.array(order), components)
    w = np.array(_toy.START)
    slow = [w]
    for i in order:
        w = w - _toy.STEP_SIZE * weight[i] * (w - minimiser[i])
        slow.append(w)
    np.testing.assert_allclose(path, slow, rtol=1e-5)


def test_claim_holds_where_it_does_in_every_seed():
    fraction = np.array([[1.0, 0.999, 0.995, 0.5, 0.2, 0.0], [1.0, 0.991, 0.99, 0.6, 0.1, 0.0]])
    assert claim(fraction) == [1e-2, 1e-3]
    parts = {
        "logistic": {"a9a": {"points": {"w_*": {"fraction": fraction[:1]}}}},
        "networks": {"FeedForward, mnist": {"fraction": fraction}},
    }
    found = verdicts(parts)
    assert found["holds_for"] == {
        "logistic, a9a, w_*": [1e-2, 1e-3, 1e-4],
        "FeedForward, mnist": [1e-2, 1e-3],
    }
    sentences = found["sentences"]
    assert sentences[0] == "τ = 1e-2: more than 99 % vanish at 2 of 2 solutions."
    assert sentences[2].endswith("at 1 of 2 solutions; not at FeedForward, mnist.")
    assert sentences[3].endswith("at 0 of 2 solutions.")


def test_numbers_of_components():
    norms = 10.0 ** np.array([-8.0, -6.5, -2.5, 1.0])
    row = vanishing_numbers(jnp.array(norms))
    np.testing.assert_allclose(row["fraction"], [0.75, 0.5, 0.5, 0.5, 0.5, 0.25])
    tails = [norms[norms > tau].mean() for tau in THRESHOLDS]
    np.testing.assert_allclose(row["tail_mean"], tails, rtol=1e-6)
    np.testing.assert_allclose([row["mean"], row["max"]], [norms.mean(), 10], rtol=1e-6)
    assert np.all(np.diff(row["curve"]) >= 0)
    assert by_name([{"a": 1}, {"a": 2}]) == {"a": [1, 2]}


def test_presets_and_what_overrides_them():
    digits = plan_of(Config())
    assert digits.logistic == ("digits",)
    assert digits.seeds == 3
    assert [task.network for task in digits.networks] == ["FeedForward", "SmallCNN"]
    small = plan_of(Config(preset="small"))
    assert small.logistic == ("ijcnn1", "w8a", "a9a")
    assert {task.data for task in small.networks} == {"mnist"}
    paper = plan_of(Config(preset="paper"))
    assert len(paper.networks) == 6
    assert all(task.examples is None and task.epochs == 100 for task in paper.networks)
    options = {"epochs": 2, "seeds": 1, "data": ("a",), "examples": 9, "networks": ("SmallCNN",)}
    plan = plan_of(Config(preset="paper", **options))
    (task,) = plan.networks
    assert (plan.seeds, plan.sgd_epochs, plan.logistic) == (1, 2, ("a",))
    assert (task.data, task.epochs, task.examples) == ("a", 2, 9)


@pytest.mark.parametrize("resume", [True, False])
def test_only_a_run_of_the_same_options_goes_on(resume, tmp_path):
    begin(tmp_path, plan_of(Config()), resume)
    assert remembered(tmp_path / "part.json", lambda: {"a": 1}) == {"a": 1}
    begin(tmp_path, plan_of(Config()), resume)
    kept = remembered(tmp_path / "part.json", lambda: {"a": 2})
    assert kept == ({"a": 1} if resume else {"a": 2})
    if resume:
        with pytest.raises(ValueError, match=r"other options \(networks, sgd_epochs differ\)"):
            begin(tmp_path, plan_of(Config(epochs=3)), resume)


def test_iterates_come_back_one_by_one(tmp_path):
    like = {"w": jnp.zeros(2), "b": jnp.zeros(())}
    for epoch in range(3):
        params = {"w": epoch + np.arange(4.0).reshape(2, 2), "b": np.array([epoch, -epoch])}
        write_iterate(tmp_path, epoch, params)
    trajectory = Trajectory(tmp_path, like, replica=1, epochs=2)
    assert len(trajectory) == 3
    for epoch, iterate in enumerate(trajectory):
        np.testing.assert_array_equal(iterate["w"], epoch + np.array([2.0, 3.0]))
        np.testing.assert_array_equal(iterate["b"], -epoch)


@pytest.mark.slow
def test_run_writes_its_report_and_reads_itself_back(experiment, monkeypatch, tmp_path, capsys):
    experiment(*DENSE, "--out", tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in tmp_path.iterdir()} == {
        "parts", "report.html", "results.json", "vanishing_gradients.png",
    }  # fmt: skip
    assert all(path.suffix == ".json" for path in (tmp_path / "parts").iterdir())
    results = experiment.results(tmp_path)
    points = results["logistic"]["digits"]["points"]
    assert points["w_*"]["gradient_norm"][0] <= 1e-8
    assert min(points["w_SGD"]["gap"]) > 0
    network = results["networks"]["FeedForward, digits"]
    assert network["num_train"] == 64
    assert np.shape(network["growth_ratio"]) == (2, 2)
    assert network["N"] == [max(ratios) for ratios in network["growth_ratio"]]
    assert network["batch_sizes"] == [1, 4]
    for batches, fraction in zip(network["batches"], network["fraction"], strict=True):
        assert batches["fraction"][0] == fraction
    out = capsys.readouterr().out
    assert "at 0 of 3 solutions" in out
    assert "train accuracy" in out

    def again(*args):
        raise AssertionError("the part was finished")

    for name in ("toy", "logistic", "network"):
        monkeypatch.setattr(_run, name, again)
    experiment(*DENSE, "--out", tmp_path, "--resume")
    resumed = experiment.results(tmp_path)
    assert all(resumed[key] == results[key] for key in ("toy", "logistic", "networks", "claim"))


def test_part_of_a_run(experiment, tmp_path):
    experiment("--only", "toy", "--out", tmp_path)
    results = experiment.results(tmp_path)
    assert "logistic" not in results
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("data:image/png") == 1


@pytest.mark.parametrize("option", ["--epochs", "--seeds", "--examples", "--subset", "--sgd-step"])
def test_zero_is_refused(experiment, tmp_path, option):
    assert option in experiment.failure(option, "0", "--out", tmp_path)


@pytest.mark.slow
def test_interrupted_run_goes_on(experiment, monkeypatch, tmp_path):
    """Training breaks off after an epoch; measuring after the first seed."""
    options = [*DENSE, "--epochs", "3", "--only", "networks", "--out"]
    experiment(*options, tmp_path / "straight")

    def interrupted(name, calls):
        original, count = getattr(_networks, name), []

        def wrapper(*args):
            count.append(1)
            if len(count) > calls:
                raise KeyboardInterrupt
            return original(*args)

        with monkeypatch.context() as patch:
            patch.setattr(_networks, name, wrapper)
            with pytest.raises(SystemExit, match="interrupted"):
                experiment(*options, tmp_path / "resumed", "--resume")

    interrupted("write_iterate", 2)
    interrupted("measurements", 1)
    experiment(*options, tmp_path / "resumed", "--resume")
    rows = [
        experiment.results(tmp_path / name)["networks"]["FeedForward, digits"]
        for name in ("straight", "resumed")
    ]
    for row in rows:
        del row["seconds"]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    experiment.as_a_command(*SMALL, "--out", tmp_path)
    results = experiment.results(tmp_path)
    assert list(results["networks"]) == ["FeedForward, digits", "SmallCNN, digits"]


@pytest.mark.slow
def test_ijcnn1_at_the_solution(experiment, tmp_path, real_data_dir):
    """Without bias or scaling the accuracy comes within half a per cent of the paper's 0.9219."""
    options = ("--data", "ijcnn1", "--only", "logistic", "--epochs", "1", "--out", tmp_path)
    experiment(*options)
    results = experiment.results(tmp_path)
    point = results["logistic"]["ijcnn1"]["points"]["w_*"]
    assert point["gradient_norm"][0] <= 1e-8
    assert point["train_accuracy"][0] == pytest.approx(0.9172, abs=2e-4)
    assert results["claim"]["holds_for"]["logistic, ijcnn1, w_*"] == []
