"""The experiment about image translation: its parts against NumPy, and whole runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnoise as jn
from experiments.image_translation import Config, _problem, _run, _score, _translate
from experiments.image_translation._compare import (
    WORDS,
    against,
    comparisons,
    summary,
    verdict,
)
from experiments.image_translation._config import Task, plan_of
from experiments.image_translation._methods import METHODS, hyperparams, mean_step, tradam
from experiments.image_translation._problem import fed, jittered, problem_of

SMALL = [
    "--epochs", "1", "--scorer-epochs", "1", "--seeds", "2", "--examples", "6",
    "--test-examples", "5", "--width", "2",
]  # fmt: skip


def task_of(**options):
    fields = {
        "data": "pairs", "size": 8, "margin": 0, "shrink": 1, "patches": False, "examples": None,
        "test_examples": None, "epochs": 1, "width": 2, "levels": 3, "layers": 1,
        "scorer_width": 1, "scorer_epochs": 1,
    }  # fmt: skip
    return Task(**(fields | options))


# Optimizers


def path_of(optimizer, start, gradients):
    """The iterates of an optimizer that is told these gradients."""
    w, state, path = start, optimizer.init(start), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
        path.append(np.asarray(w))
    return np.array(path)


@pytest.mark.parametrize("method", METHODS)
def test_optimizers_are_what_they_are_called(method):
    """One function of hyper-parameters makes Adam and both forms of TRAdam."""
    plan, epoch_length, rate = plan_of(Config(period=3, weight=0.4)), 7, 0.01

    def schedule(step):
        return jnp.array(rate)

    plain = {
        "adam": lambda: optax.adam(rate, b1=0.5),
        "mean_step": lambda: optax.adam(rate * (1 + 1 / 2 + 1 / 3) / 3, b1=0.5),
        "paper": lambda: jn.transforms.tradam(rate, b1=0.5, weight=0.4, period=3),
        "reference": lambda: jn.transforms.tradam(
            schedule, b1=0.5, weight=jn.transforms.reference_weight(schedule, 0.4), period=3,
            epoch_length=epoch_length,
        ),
    }  # fmt: skip
    gradients = jnp.asarray(np.random.default_rng(0).normal(size=(12, 4)), jnp.float32)
    ours = path_of(
        tradam(schedule, **hyperparams(method, plan, epoch_length)), jnp.ones(4), gradients
    )
    theirs = path_of(plain[method](), jnp.ones(4), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    if method != "adam":
        base = path_of(plain["adam"](), jnp.ones(4), gradients)
        assert np.abs(ours - base).max() > 1e-3


@pytest.mark.parametrize("period", [1, 10])
def test_mean_step(period):
    assert mean_step(period) == pytest.approx(sum(1 / k for k in range(1, period + 1)) / period)


# Pairs


def write_pairs(folder, num=10, side=20, **extra):
    rng = np.random.default_rng(0)
    arrays = {
        "image": rng.integers(0, 256, (num, side, side, 3), np.uint8),
        "label": rng.choice(np.array([0, 255], np.uint8), (num, side, side)),
    }
    np.savez(folder / "pairs.npz", **(arrays | extra))
    return arrays | extra


def test_a_set_without_labelled_test_images_is_split_by_image(tmp_path):
    arrays = write_pairs(tmp_path, side=8)
    problem = problem_of(task_of(), tmp_path)
    assert (len(problem.train["label"]), len(problem.test["label"])) == (7, 3)
    assert problem.num_classes == 2
    images = {x.tobytes(): i for i, x in enumerate(arrays["image"])}
    found = [sorted(images[x.tobytes()] for x in p["image"]) for p in (problem.train, problem.test)]
    assert found == [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9]]
    for part in (problem.train, problem.test):
        for image, label in zip(part["image"], part["label"], strict=True):
            np.testing.assert_array_equal(label * 255, arrays["label"][images[image.tobytes()]])


def test_patches_are_windows_of_smaller_images_inside_the_mask(tmp_path):
    mask = np.zeros((10, 20, 20), np.uint8)
    mask[:, :, :14] = 1
    arrays = write_pairs(tmp_path, mask=mask)
    task = task_of(size=4, shrink=2, patches=True, examples=14, test_examples=3)
    problem = problem_of(task, tmp_path)
    assert {k: v.shape for k, v in problem.train.items()} == {
        "image": (14, 4, 4, 3), "label": (14, 4, 4), "mask": (14, 4, 4),
    }  # fmt: skip
    assert np.all(problem.train["mask"].mean((1, 2)) >= 0.5)
    small = np.array(
        [
            [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((0, 1)) for j in range(10)]
             for i in range(10)]
            for image in arrays["image"]
        ]
    ).round()  # fmt: skip
    for number, patch in enumerate(problem.train["image"]):
        whole = small[number % 7]  # the training images in turn
        corners = [(i, j) for i in range(7) for j in range(7)]
        assert any(np.array_equal(patch, whole[i : i + 4, j : j + 4]) for i, j in corners)


def test_blocks_take_their_most_frequent_class():
    label = np.array([[[0, 1, 2, 2], [1, 1, 0, 0], [2, 0, 0, 0]]])
    np.testing.assert_array_equal(_problem._most_frequent(label, 2), [[[1, 2]]])


def test_void_classes_and_another_test_part_of_cityscapes(monkeypatch):
    rng = np.random.default_rng(0)
    asked = []

    def load(name, split=None, data_dir=None):
        asked.append(split)
        part = {
            "image_left": rng.integers(0, 256, (4, 8, 8, 3), np.uint8),
            "segmentation_label": rng.choice(np.array([0, 7, 8], np.uint8), (4, 8, 8, 1)),
        }
        info = jn.data.DatasetInfo(name, "", "streets")
        train = part if split is None else None
        return jn.data.Dataset(train, part, info)

    monkeypatch.setattr(jn.data, "load", load)
    problem = problem_of(task_of(data="cityscapes/semantic_segmentation"), None)
    assert asked == [None, "validation"]
    np.testing.assert_array_equal(problem.train["mask"], problem.train["label"] != 0)
    assert problem.num_classes == 3


def test_networks_are_fed_one_hot_labels_and_images_about_zero():
    rng = np.random.default_rng(0)
    batch = {
        "label": rng.integers(0, 3, (2, 4, 4), np.uint8),
        "image": rng.integers(0, 256, (2, 4, 4, 1), np.uint8),
        "mask": rng.integers(0, 2, (2, 4, 4), np.uint8),
    }
    seen = fed(3, batch)
    expected = np.eye(3)[batch["label"]] * batch["mask"][..., None]
    np.testing.assert_array_equal(seen["input"], expected)
    np.testing.assert_allclose(seen["target"], batch["image"] / 127.5 - 1, atol=1e-6)


def test_a_random_window_is_the_same_of_all_parts_of_a_pair():
    places = np.arange(100, dtype=np.uint8).reshape(1, 10, 10)
    batch = {"label": places, "image": np.repeat(places[..., None], 3, -1), "mask": places}
    program, corners = jax.jit(lambda key: jittered(6, 100, key, batch)), set()
    for seed in range(30):
        seen = jax.tree.map(np.asarray, program(jax.random.key(seed)))
        label = seen["label"][0]
        mirrored = label[0, 0] > label[0, 1]
        window = label[:, ::-1] if mirrored else label
        y, x = divmod(int(window[0, 0]), 10)
        np.testing.assert_array_equal(window, places[0, y : y + 6, x : x + 6])
        np.testing.assert_array_equal(seen["mask"][0], label)
        np.testing.assert_array_equal(seen["image"][0], np.repeat(label[..., None], 3, -1))
        np.testing.assert_allclose(seen["target"], seen["image"] / 127.5 - 1, atol=1e-6)
        corners.add((y, x, mirrored))
    assert len(corners) > 20
    assert {y for y, _, _ in corners} == {x for _, x, _ in corners} == set(range(5))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((10, 20, 20, 3), np.float32)}, "label maps"),
        ({"label": np.zeros(10, np.uint8)}, "label maps"),
        ({"mask": np.zeros((10, 20, 20), np.uint8)}, "masks leave too little"),
        ({"label": np.arange(4000).reshape(10, 20, 20)}, "no classes"),
    ],
)
def test_unfit_data_are_refused(tmp_path, arrays, message):
    write_pairs(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message):
        problem_of(task_of(patches=True), tmp_path)


# Scores


def test_cross_entropy_of_pixels_is_that_inside_the_mask():
    rng = np.random.default_rng(0)
    outputs, label = rng.normal(size=(2, 3, 3, 4)), rng.integers(0, 4, (2, 3, 3), np.uint8)
    mask = rng.integers(0, 2, (2, 3, 3), np.uint8)
    losses = _score.pixel_cross_entropy(jnp.asarray(outputs), {"label": label, "mask": mask})
    for i in range(2):
        logs = outputs[i] - np.log(np.exp(outputs[i]).sum(-1, keepdims=True))
        pixels = [-logs[y, x, label[i, y, x]] for y, x in np.argwhere(mask[i])]
        np.testing.assert_allclose(losses[i], np.mean(pixels), rtol=1e-5)


def test_scores_are_over_all_test_pixels():
    rng = np.random.default_rng(0)
    test = {
        "label": rng.integers(0, 3, (5, 4, 4), np.uint8),
        "image": np.zeros((5, 4, 4, 1), np.uint8),
        "mask": rng.integers(0, 2, (5, 4, 4), np.uint8),
    }
    problem = _problem.Problem(test, test, 3, "", None)
    images = rng.integers(0, 3, (5, 4, 4, 1), np.uint8)

    def scorer(images):  # whose grey values are classes
        return jax.nn.one_hot(images[..., 0], 3)

    found = _score.scores(jax.tree_util.Partial(scorer), problem, images)
    expected = jn.metrics.segmentation_scores(
        images[..., 0].astype(int), test["label"].astype(int), 3, test["mask"]
    )
    assert found == {name: pytest.approx(float(getattr(expected, name))) for name in found}
    distance = np.mean(np.abs(images / 127.5))
    assert _score.distance(problem, images) == pytest.approx(distance, rel=1e-5)


# Words


def rows_of(seeds=3, **gain):
    """What is recorded of runs that gain so much over Adam, with a little noise."""
    rng = np.random.default_rng(0)
    adam = rng.uniform(0.5, 0.6, seeds)

    def row(method):
        values = (adam + gain.get(method, 0) + 1e-3 * rng.normal(size=seeds)).tolist()
        found = dict.fromkeys(_score.METRICS, adam.tolist() if method == "adam" else values)
        return {"scores": {"U-Net": found}, "l1": values, "curves": {}, "diverged_at": None}

    return {method: row(method) for method in METHODS}


def test_differences_are_taken_seed_by_seed():
    rows = rows_of(paper=0.1)
    pair = comparisons(rows)["paper over adam"]["U-Net"]["class_iou"]
    scores = [rows[m]["scores"]["U-Net"]["class_iou"] for m in ("paper", "adam")]
    np.testing.assert_allclose(pair["difference"], np.subtract(*scores))
    assert pair["mean"] == pytest.approx(0.1, abs=5e-3)
    assert set(comparisons(rows)) == {
        "paper over adam", "reference over adam", "mean_step over adam", "paper over mean_step",
        "reference over mean_step",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "word"), [(0.1, "better than"), (-0.1, "worse than"), (0.0, "not to be told from")]
)
def test_a_verdict_says_no_more_than_the_test(gain, word):
    rows = rows_of(paper=gain)
    said = against("Adam", comparisons(rows)["paper over adam"]["U-Net"])
    assert said.startswith(f"{word} Adam by class IOU (class IOU ")
    sentences = verdict("houses", rows)
    assert len(sentences) == 2
    assert sentences[0].startswith(f"houses, U-Net: TRAdam is {said} It is {word} Adam at the mean")
    counts = dict.fromkeys(WORDS, 0) | {word: 2}
    assert summary({"houses": rows, "streets": rows}, 3)[0] == (
        "TRAdam against Adam, class IOU of 2 pairs of data set and scorer, 3 seeds: "
        + ", ".join(f"{w} {n} times" for w, n in counts.items())
        + "."
    )


def test_one_seed_is_no_test():
    said = against("Adam", comparisons(rows_of(1, paper=0.1))["paper over adam"]["U-Net"])
    assert said.startswith("not to be told from Adam")
    assert "no test" in said


# Whole runs


@pytest.mark.parametrize(
    "option", ["--seeds", "--epochs", "--scorer-epochs", "--examples", "--width", "--learning-rate"]
)
def test_zero_is_refused(experiment, tmp_path, option):
    assert option in experiment.failure(option, "0", "--out", tmp_path)


class Untrained:
    """Stands for networks: what they make depends on the seed and the method alone."""

    def __init__(self):
        self.trained = []

    def translated(self, problem, plan, task, start, method, folder, curves):
        self.trained.append(method)
        rng = np.random.default_rng(list(METHODS).index(method))
        shape = (plan.seeds, *problem.test["image"].shape)
        images = rng.integers(0, 256, shape, np.uint8)
        _translate.write_npz(folder.with_name(f"{method}.npz"), {"image": images})
        curve = rng.uniform(size=(plan.seeds, task.epochs))
        return {
            "diverged_at": 3 if method == "reference" else None,
            "steps": np.arange(task.epochs),
            "curves": dict.fromkeys(_translate.CURVES, curve),
            "seconds": 1.0,
            "num_params": {"discriminator": 1, "generator": 2},
        }


@pytest.fixture
def untrained(monkeypatch):
    stand_in = Untrained()
    monkeypatch.setattr(_run, "translated", stand_in.translated)
    monkeypatch.setattr(_run, "start_of", lambda *args: None)
    rule = jax.tree_util.Partial(lambda images: jax.nn.one_hot(images[..., 0] // 128, 2))
    monkeypatch.setattr(_run, "scorer_of", lambda *args: rule)
    return stand_in


def test_run_writes_its_report_and_reads_itself_back(experiment, tmp_path, capsys, untrained):
    write_pairs(tmp_path, side=64)
    out = tmp_path / "out"
    options = [*SMALL, "--data", "pairs", "--data-dir", tmp_path, "--test-examples", "1"]
    options += ["--out", out]
    experiment(*options)
    assert untrained.trained == list(METHODS)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert {path.name for path in out.iterdir()} == {
        "curves.jsonl", "image_translation.png", "parts", "report.html", "results.json",
    }  # fmt: skip
    results = experiment.results(out)
    cell = results["cells"]["pairs"]
    assert (cell["num_train"], cell["num_test"], cell["num_classes"]) == (6, 1, 2)
    assert np.shape(cell["rows"]["adam"]["scores"]["U-Net"]["class_iou"]) == (2,)
    table = results["tables"]["pairs"]["FCN-8s"]
    assert [row[0] for row in table[1]] == [
        "ground truth", "Adam", "TRAdam", "TRAdam, authors' form (diverged at step 3)",
        "Adam at the mean step",
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "ground truth" in said
    assert "by class IOU" in said

    experiment(*options, "--resume")
    assert untrained.trained == list(METHODS), "nothing is trained again"
    resumed = experiment.results(out)
    assert resumed["cells"] == results["cells"]
    changed = experiment.failure(*options, "--resume", "--learning-rate", "1")
    assert "learning_rate" in changed


@pytest.mark.slow
def test_interrupted_run_goes_on(experiment, monkeypatch, tmp_path):
    """The second optimizer breaks off after its first epoch."""
    rule = jax.tree_util.Partial(lambda images: jax.nn.one_hot(images[..., 0] // 32, 8))
    monkeypatch.setattr(_run, "scorer_of", lambda *args: rule)
    options = [*SMALL, "--epochs", "2", "--out"]
    experiment(*options, tmp_path / "straight")
    log = _translate.Curves.log

    def interrupted(self, run, epoch, record):
        if run == "facades, TRAdam" and epoch == 2:
            raise KeyboardInterrupt
        log(self, run, epoch, record)

    with monkeypatch.context() as patch:
        patch.setattr(_translate.Curves, "log", interrupted)
        with pytest.raises(SystemExit, match="interrupted"):
            experiment(*options, tmp_path / "resumed")
    experiment(*options, tmp_path / "resumed", "--resume")
    both = [
        experiment.results(tmp_path / name)["cells"]["facades"]["rows"]
        for name in ("straight", "resumed")
    ]
    for rows in both:
        for row in rows.values():
            del row["seconds"]
    assert both[0] == both[1]


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    experiment.as_a_command(*SMALL, "--out", tmp_path)
    results = experiment.results(tmp_path)
    rows = results["cells"]["facades"]["rows"]
    starts = {method: rows[method]["curves"]["generator l1"] for method in METHODS}
    assert np.shape(starts["adam"]) == (2, 1)
    assert starts["adam"] != starts["paper"]
    lines = (tmp_path / "curves.jsonl").read_text().splitlines()
    assert len(lines) == 2 + 2 * len(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["drive", "isbi2012_em"])
def test_real_pairs(data, real_data_dir):
    task = plan_of(Config(preset="small", data=(data,), examples=42, test_examples=20)).tasks[0]
    problem = problem_of(task, None)
    assert problem.num_classes == 2
    for part, num in ((problem.train, 42), (problem.test, 20)):
        assert part["label"].shape == (num, 64, 64)
        share = part["label"][part["mask"] > 0].mean()
        assert 0.05 < (share if data == "drive" else 1 - share) < 0.3
