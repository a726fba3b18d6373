"""The experiment about landscapes of segmentation networks: its parts, and whole runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxnoise as jn
from experiments._common import replica
from experiments.fcn_landscapes import Config, _compare, _config, _run, _train
from experiments.fcn_landscapes._config import plan_of
from experiments.fcn_landscapes._equal_loss import at_loss, comparable_seeds, target_losses
from experiments.fcn_landscapes._networks import MAIN, NETWORKS
from experiments.fcn_landscapes._problem import (
    Problem,
    problem_of,
    squared_error,
    standardized,
)
from experiments.fcn_landscapes._report import tables_of
from experiments.fcn_landscapes._scores import baseline, predicted, scores
from experiments.fcn_landscapes._train import Snapshots, mean_loss, network_of
from experiments.fcn_landscapes._verdict import measures_of, verdicts

RNG = np.random.default_rng(0)


class Tiny(nnx.Module):
    """Two convolutions, in place of the networks that take long to compile."""

    def __init__(self, *, in_channels, out_channels, width, rngs):
        self.first = nnx.Conv(in_channels, width, (3, 3), rngs=rngs)
        self.second = nnx.Conv(width, out_channels, (3, 3), rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(_train, "NETWORKS", dict.fromkeys(NETWORKS, Tiny))


def images_of(num, kind="membranes", size=16):
    image = RNG.integers(0, 256, (num, size, size, 1), np.uint8)
    if kind == "raindrops":
        target = np.roll(image, 1, axis=1)
    else:
        target = np.where(image > 100, 255, 0).astype(np.uint8)
    return {"image": image, "target": target, "mask": np.ones(image.shape[:3], np.uint8)}


def problem(kind="membranes", size=16):
    parts = {part: images_of(4, kind, size) for part in ("train", "validation", "test")}
    patches = {part: jn.data.patches(x, size // 2, 0) for part, x in parts.items()}
    return Problem(parts, patches, "noise", np.array([128.0]), np.array([64.0]))


def task_of(**options):
    config = Config(epochs=3, width=2, **options)
    return plan_of(config).tasks[0]


# Problems


def test_loss_is_the_mean_over_the_pixels_inside_the_mask():
    batch = images_of(3) | {"mask": (RNG.random((3, 16, 16)) > 0.4).astype(np.uint8)}
    outputs = RNG.normal(size=(3, 16, 16, 1)).astype(np.float32)
    bounded = 1 / (1 + np.exp(-outputs.astype(float)))
    errors = (bounded - batch["target"] / 255.0)[..., 0] ** 2
    slow = [e[m > 0].mean() for e, m in zip(errors, batch["mask"], strict=True)]
    np.testing.assert_allclose(squared_error(outputs, batch), slow, rtol=1e-5)


def test_networks_see_standardized_images(tiny):
    task, given = task_of(), problem()
    network = network_of(given, task, "U-Net", 1)
    images = given.images["test"]["image"]
    seen = standardized(given.mean, given.std, {"image": images})
    np.testing.assert_allclose(seen, (images.astype(float) - 128) / 64, rtol=1e-6)
    model = Tiny(in_channels=1, out_channels=1, width=2, rngs=nnx.Rngs(0))
    params = replica(network.params, 0)
    bounded = 1 / (1 + np.exp(-np.asarray(model(seen))))
    np.testing.assert_allclose(network.apply(params, images), bounded, rtol=1e-5, atol=1e-6)
    loss = np.mean((bounded - given.images["test"]["target"] / 255.0) ** 2)
    assert mean_loss(network, params, given.images["test"]) == pytest.approx(float(loss), rel=1e-5)


def loads(monkeypatch, train, test=None):
    loaded = jn.data.Dataset(train, test, jn.data.load("digits").info)
    monkeypatch.setattr(jn.data, "load", lambda name, data_dir: loaded)


def test_set_without_test_labels_is_split(monkeypatch):
    image = RNG.integers(0, 256, (10, 192, 192, 1), np.uint8)
    label = 255 * (RNG.random((10, 192, 192)) > 0.5).astype(np.uint8)
    loads(monkeypatch, {"image": image, "label": label})
    found = problem_of(plan_of(Config(preset="small", data=("isbi2012_em",))).tasks[0], None)
    sizes = {part: len(x["image"]) for part, x in found.images.items()}
    assert sizes == {"train": 6, "validation": 1, "test": 3}
    assert found.patches["train"]["image"].shape == (6 * 4, 96, 96, 1)
    np.testing.assert_array_equal(found.images["test"]["target"][..., 0], label[-3:])
    np.testing.assert_allclose(found.mean, image[:6].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.std, image[:6].std(), rtol=1e-5)


def test_set_with_masks_is_shrunk_and_cut(monkeypatch):
    """Labels go by majority, and patches less than half of which is seen are left out."""
    image = RNG.integers(0, 256, (4, 384, 384, 3), np.uint8)
    label = np.kron(RNG.random((4, 192, 192)) > 0.5, np.ones((2, 2))).astype(np.uint8)
    mask = np.ones((4, 384, 384), np.uint8)
    mask[:, :, :220] = 0
    part = {"image": image, "manual1": label, "mask": mask}
    loads(monkeypatch, part, part)
    found = problem_of(plan_of(Config(preset="small", data=("drive",))).tasks[0], None)
    small = image.reshape(4, 192, 2, 192, 2, 3).mean((2, 4))
    test = found.images["test"]
    np.testing.assert_array_equal(test["image"], small.round())
    np.testing.assert_array_equal(test["target"][..., 0] > 0, label[:, ::2, ::2])
    np.testing.assert_array_equal(test["mask"], mask[:, ::2, ::2])
    assert [len(x["image"]) for x in found.patches.values()] == [3 * 2, 2, 4 * 2]


def test_masks_that_leave_nothing(monkeypatch):
    image = np.zeros((4, 384, 384, 3), np.uint8)
    part = {"image": image, "manual1": image[..., 0], "mask": image[..., 0]}
    loads(monkeypatch, part, part)
    with pytest.raises(ValueError, match="the masks leave too little of patches of 96 pixels"):
        problem_of(plan_of(Config(preset="small", data=("drive",))).tasks[0], None)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["membranes", "vessels", "raindrops"])
def test_drawn_sets(data):
    found = problem_of(plan_of(Config(data=(data,))).tasks[0], None)
    for part in found.patches.values():
        assert part["image"].shape[1:3] == (64, 64)
        assert part["image"].dtype == part["target"].dtype == np.uint8
    train, validation = found.images["train"]["image"], found.images["validation"]["image"]
    few = min(len(train), len(validation))
    assert (train[:few] != validation[:few]).any()
    if data != "raindrops":
        assert set(np.unique(found.patches["train"]["target"])) == {0, 255}


# Equal training loss


def test_target_is_the_lowest_loss_that_all_reach():
    rows = [{"train": [[3.0, 1.0, 2.0], [5.0, 4.0, 3.0]]}, {"train": [[9.0, 2.0], [9.0, 1.0]]}]
    assert target_losses(rows, None) == [2.0, 3.0]
    assert target_losses(rows, 2.5) == [2.5, 3.0]


def test_seeds_without_learning_are_left_out():
    assert comparable_seeds([0.1, 0.2, 0.15], 0.2) == [0, 2]
    assert comparable_seeds([0.2, 0.2], 0.2) == [0, 1]
    given = problem()
    target = given.patches["train"]["target"] / 255.0
    assert given.constant_loss == pytest.approx(((target - target.mean()) ** 2).mean(), rel=1e-5)


def test_point_of_equal_loss_is_the_first_along_the_snapshots(tiny, tmp_path):
    task, given = task_of(), problem()
    network = network_of(given, task, "U-Net", 2)
    snapshots = Snapshots(tmp_path, network.params, 3, 3)
    for epoch, scale in enumerate([3.0, 1.0, 0.5, 0.7]):
        snapshots.save(epoch, jax.tree.map(lambda x, s=scale: s * x, network.params))
    assert list(snapshots) == [0, 1, 2, 3]
    train = given.patches["train"]
    losses = [mean_loss(network, snapshots.load(epoch, 1), train) for epoch in snapshots]
    assert losses[0] > losses[1] > losses[2]
    target = 0.5 * (losses[1] + losses[2])
    params, epoch = at_loss(given, network, snapshots, losses, target, 1)
    assert 1 < epoch < 2
    span = losses[1] - losses[2]
    assert mean_loss(network, params, train) == pytest.approx(target, abs=0.01 * span)
    exact, epoch = at_loss(given, network, snapshots, losses, losses[2], 1)
    assert epoch == 2
    np.testing.assert_array_equal(
        jax.tree.leaves(exact)[0], 0.5 * jax.tree.leaves(network.params)[0][1]
    )


def test_snapshots_are_few_and_hold_the_last_epoch(tmp_path):
    snapshots = Snapshots(tmp_path, jnp.zeros((2, 3)), 60, 10)
    assert snapshots.epochs == [0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60]
    params = jnp.arange(6.0).reshape(2, 3)
    for epoch in range(61):
        snapshots.save(epoch, params + epoch)
    np.testing.assert_array_equal(snapshots.load(54, 1), params[1] + 54)
    assert len(list(tmp_path.iterdir())) == 11


# Scores and words


def test_scores_of_perfect_outputs():
    task, test = task_of(), images_of(2, size=32)
    test["target"][:] = 255
    test["target"][:, ::8] = 0
    test["target"][:, :, ::8] = 0
    found = scores(task, test["target"] / 255.0, test)
    assert found == {"v_rand": 1.0, "v_info": 1.0, "accuracy": 1.0}
    worse = scores(task, np.roll(test["target"], 2, axis=1) / 255.0, test)
    assert all(worse[name] < 1 for name in found)
    assert baseline(task, test) is None


def test_scores_of_images():
    task, test = task_of(data=("raindrops",)), images_of(2, "raindrops")
    assert scores(task, test["target"] / 255.0, test)["ssim"] == pytest.approx(1)
    before = baseline(task, test)
    error = (test["image"] / 255.0 - test["target"] / 255.0) ** 2
    slow = np.mean(-10 * np.log10(error.mean((1, 2, 3))))
    assert before["psnr"] == pytest.approx(slow, rel=1e-5)


def test_outputs_of_whole_images_come_from_their_patches(tiny):
    task, given = task_of(), problem()
    network = network_of(given, task, "U-Net", 1)
    image = np.tile(given.images["test"]["image"], (1, 8, 5, 1))  # 128 × 80, patches of 64
    params = replica(network.params, 0)
    outputs = predicted(network, params, task, image)
    assert outputs.shape == image.shape
    inside = np.s_[:, 1:60, 1:15]  # where one patch alone is seen, without its padding
    whole = np.asarray(network.apply(params, image))
    np.testing.assert_allclose(outputs[inside], whole[inside], rtol=1e-4, atol=1e-5)


def test_verdicts_count_what_is_as_claimed():
    def study(**values):
        rows = {name: {"epoch": [1, 1], "C_0.1": v} for name, v in values.items()}
        return {"rows": rows, "targets": [0.1, 0.3, 0.1], "seeds": [0, 2], "constant_loss": 0.3}

    networks = study(
        **{"FCN-16s": [4.0, 4.1], "FCN-8s": [3.0, 3.1], "FCN-4s": [3.5, 3.7], "U-Net": [1.0, 1.2]}
    )
    pair = study(**{"U-Net, B2": [1.0, 1.0], "U-Net, B16": [2.0, 2.1]})
    said = verdicts("cells", {"networks": networks, "batch_sizes": {"U-Net": pair}})
    assert said[0].startswith("cells, networks: seeds without 1, where a training did not get")
    assert said[2].startswith("cells, skips flatten, by C_0.1: 2 of 3 as claimed.")
    assert "FCN-8s is 0.847 times FCN-4s (flatter" in said[2]
    assert said[3].startswith("cells, small batches end flatter, by C_0.1: 1 of 1 as claimed.")
    assert "U-Net, B16 is 2.05 times U-Net, B2 (sharper" in said[3]
    assert verdicts("cells", {}) == []


# Whole runs


def test_landscapes_are_those_of_the_first_set():
    data = ("membranes", "vessels", "raindrops")
    first, *others = plan_of(Config(preset="small", data=data)).tasks
    assert first.landscapes
    assert first.networks == tuple(NETWORKS)
    assert {task.networks for task in others} == {MAIN}
    assert not any(task.landscapes for task in others)
    (only,) = plan_of(Config(flatness=False)).tasks
    assert not only.landscapes
    assert only.networks == MAIN


@pytest.fixture
def small_run(tiny, monkeypatch, tmp_path):
    """Options of a whole run on noise, with a tiny network for all."""
    monkeypatch.setattr(_run, "problem_of", lambda task, data_dir: problem(task.kind, 64))
    monkeypatch.setattr(_compare, "NORMALIZATIONS", ("filter_unit",))
    monkeypatch.setattr(_run, "MAIN", ("FCN-16s", "U-Net"))
    monkeypatch.setitem(_config._PRESETS["synthetic"], "networks", ("FCN-16s", "U-Net"))
    return [
        "--data", "membranes", "--epochs", "3", "--width", "2", "--seeds", "2",
        "--resolution", "3", "--batch-size", "8", "--out", tmp_path / "out",
    ]  # fmt: skip


@pytest.mark.slow
def test_whole_run_and_resume(experiment, small_run, monkeypatch, capsys):
    out = small_run[-1]
    experiment(*small_run)
    first = capsys.readouterr().out
    results = experiment.results(out)
    cell = results["cells"]["membranes"]
    assert list(cell["scores"]) == ["FCN-16s", "U-Net"]
    for seed in range(2):
        target = cell["networks"]["targets"][seed]
        for row in cell["networks"]["rows"].values():
            assert row["train loss"][seed] == pytest.approx(target, rel=0.02)
    assert list(cell["batch_sizes"]) == ["FCN-16s", "U-Net"]
    assert "membranes: networks at equal training loss" in first
    page = (out / "report.html").read_text()
    for words in ("What the runs say", "C_0.1", "rise, filter_unit", "U-Net, B2"):
        assert words in page
    assert (out / "membranes_networks_filter_unit.png").is_file()
    assert not list(out.glob("parts/*/*/epoch_*"))  # snapshots are gone

    def no_training(*args, **options):
        raise AssertionError("trains again")

    monkeypatch.setattr(jn.training, "fit", no_training)
    monkeypatch.setattr(jn.landscape, "loss_grid", no_training)
    experiment(*small_run, "--resume")
    again = experiment.results(out)
    assert again["tables"] == results["tables"]
    tables = tables_of(cell)
    assert len(tables) == 4
    assert measures_of(cell["networks"]["rows"])[:3] == ["C_0.01", "C_0.02", "C_0.1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--learning-rate", "0"], "--learning-rate must be positive"),
        (["--momentum", "1"], "--momentum must be in"),
        (["--batch-size", "2"], "--small-batch-size must differ"),
        (["--resolution", "1"], "--resolution must be at least 2"),
        (["--target-loss", "-1"], "--target-loss must be positive"),
        (["--data", "drive", "drive"], "each once"),
    ],
)
def test_bad_options(experiment, options, words):
    with pytest.raises(SystemExit) as stopped:
        experiment(*options)
    assert words in str(stopped.value.code)
    assert "\n" not in str(stopped.value.code)


def num_params(name):
    shapes = {"in_channels": 1, "out_channels": 1, "width": 2}
    model = nnx.eval_shape(lambda: NETWORKS[name](**shapes, rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_networks_have_the_parameters_of_the_paper():
    counts = {name: num_params(name) for name in ("FCN-16s", "FCN-8s", "U-Net")}
    c = [2, 4, 8]  # a level of c channels without skip lacks 9 c² weights
    assert counts["U-Net"] - counts["FCN-8s"] == 9 * (c[0] ** 2 + c[1] ** 2)
    assert counts["FCN-8s"] - counts["FCN-16s"] == 9 * c[2] ** 2


@pytest.mark.slow
def test_command_documents_its_options(experiment):
    assert "--target-loss" in experiment.as_a_command("--help")
