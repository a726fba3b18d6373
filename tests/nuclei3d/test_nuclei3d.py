"""Whole runs of nuclei3d, with trained networks and without."""

import re

import numpy as np
import pytest
from jax.tree_util import Partial

import jaxnoise as jn
from experiments.nuclei3d import _steps
from experiments.nuclei3d._files import read_all

SMALL = [
    "--volumes", "2", "--epochs", "1", "--gan-epochs", "1", "--seeds", "2", "--width", "1",
    "--block", "16", "--min-size", "20",
]  # fmt: skip


class Untrained:
    """Stands for all networks: GANs leave labels as they are, segmentation is a threshold."""

    def __init__(self):
        self.done = []

    def train_gan(self, plan, method, labels, images, folder, curves):
        self.done.append(f"train-gan {method}")
        return {"seconds": 1.0}

    def generate(self, plan, folder, seed, labels):
        self.done.append(f"generate {folder.name} {seed}")
        return [np.uint8(100 + seed) * (label > 0) for label in labels]

    def train_unet(self, plan, name, seed, images, labels, volumes, folder, curves):
        self.done.append(f"train-unet {name} {seed}")
        return {
            "seconds": 1.0,
            "steps": len(images),
            "num_params": 5,
            "curves": {"dice": [0.1 * len(labels)]},
        }

    def segmenter(self, plan, name, path):
        return Partial(lambda windows: (windows > 128).astype(float))


@pytest.fixture
def untrained(monkeypatch):
    stand_in = Untrained()
    for name in ("train_gan", "generate", "train_unet", "segmenter"):
        monkeypatch.setattr(_steps, name, getattr(stand_in, name))
    return stand_in


@pytest.fixture
def stacks(tmp_path, balls):
    """Two small volumes of a user, with the true nuclei."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mine"
    for index in range(2):
        labels = balls((12, 24, 20), [(6, 7, 7), (6, 16, 13)], radius=4)
        image = np.clip(500 + 3000 * (labels > 0) + rng.normal(0, 100, labels.shape), 0, 65535)
        jn.volumes.write_volume(folder / f"image_{index:03}.tif", image.astype(np.uint16))
        jn.volumes.write_volume(folder / f"label_{index:03}.tif", labels.astype(np.uint16))
    return folder


@pytest.mark.slow
def test_steps_one_by_one_leave_files_to_look_at(experiment, untrained, stacks, tmp_path, capsys):
    out = tmp_path / "out"
    options = [
        *SMALL,
        "--data",
        f"{stacks}/",
        "--out",
        out,
        "--variants",
        "base",
        "few",
        "rendered",
    ]
    assert "run the step synthesize first" in experiment.failure("train-unet", *options)
    for step in ("synthesize", "train-gan", "generate"):
        experiment(step, *options)
    assert "run the step train-unet first" in experiment.failure("evaluate", *options)
    experiment("train-unet", *options)
    assert "run the step segment first" in experiment.failure("evaluate", *options)
    for step in ("segment", "evaluate"):
        experiment(step, *options)
    labels = read_all(out / "synthetic", "label")
    np.testing.assert_array_equal(
        read_all(out / "generated" / "spcyclegan" / "seed1", "image")[1], 101 * (labels[1] > 0)
    )
    found = out / "segmented" / "base" / "seed0"
    assert {path.name for path in found.iterdir()} == {
        "done.json",
        *(f"{s}_00{i}.tif" for s in ("probability", "label", "colors") for i in range(2)),
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    results = experiment.results(out)
    assert results["rows"]["base"]["cleaned"]["f1"] == [1.0, 1.0]
    assert results["true_counts"] == [2, 2]
    assert set(results["overlaps"]) == {"rendered", "spcyclegan"}
    assert "Otsu's threshold" in capsys.readouterr().out


@pytest.mark.slow
def test_all_steps_and_what_is_finished_stays(experiment, untrained, stacks, tmp_path):
    out = tmp_path / "out"
    options = ["all", *SMALL, "--data", f"{stacks}/image_000.tif", "--out", out]
    options += ["--variants", "base", "cyclegan", "truth"]
    experiment(*options)
    assert untrained.done == [
        "train-gan spcyclegan", "train-gan cyclegan",
        "generate spcyclegan 0", "generate spcyclegan 1",
        "generate cyclegan 0", "generate cyclegan 1",
        "train-unet base 0", "train-unet base 1",
        "train-unet cyclegan 0", "train-unet cyclegan 1",
    ]  # fmt: skip
    results = experiment.results(out)
    assert results["rows"] == {}, "there is no ground truth"
    assert results["counts"]["base"] == [[2], [2]]
    untrained.done.clear()
    experiment(*options, "--resume")
    assert untrained.done == [], "nothing is done again"
    assert experiment.results(out)["counts"] == results["counts"]
    assert "num" in experiment.failure(*options, "--resume", "--volumes", "3")


@pytest.mark.parametrize("option", ["--seeds", "--shrink", "--block", "--epochs"])
def test_zero_is_refused(experiment, option, tmp_path):
    assert option in experiment.failure("all", option, "0", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_whole_experiment_as_a_command(experiment, tmp_path):
    said = experiment.as_a_command("all", *SMALL, "--out", tmp_path)
    assert "SpCycleGAN, U-Net, Dice + BCE" in said
    results = experiment.results(tmp_path)
    assert np.shape(results["rows"]["encoder_decoder"]["raw"]["dice"]) == (2,)
    lines = (tmp_path / "curves.jsonl").read_text().splitlines()
    assert len(lines) == 2 * 2 + 8 * 2
