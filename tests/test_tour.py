"""The tour runs, writes what it promises, and fails with one clear line."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments import tour

ROOT = Path(__file__).parents[1]
SMALL = [
    "--epochs", "1", "--seeds", "2", "--max-examples", "40", "--resolution", "4",
    "--landscape-examples", "16",
]  # fmt: skip


def run_as_command(*options, timeout=600):
    command = [sys.executable, "-m", "experiments.tour", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path):
    """A set in the form of MNIST's files."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 20)):
        write_idx(
            folder / f"{part}-images-idx3-ubyte.gz",
            random.integers(0, 256, (n, 8, 8)).astype(np.uint8),
        )
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 3).astype(np.uint8))
    return folder


@pytest.mark.slow
def test_tour_writes_its_report(experiment, tmp_path, capsys, idx_folder):
    out = tmp_path / "out"
    experiment(*SMALL, "--data", "tiny", "--data-dir", idx_folder.parent, "--out", out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)  # nothing is fetched
    assert "SGD at TRSGD&#x27;s mean step" in page
    results = experiment.results(out)
    assert results["settings"]["batch_size"] == 8
    assert len(results["runs"]["TRSGD"]["test_accuracy"]) == 2
    assert np.shape(results["landscape"]["SGD"]["values"]) == (4, 4)
    assert "jax" in results["environment"]["versions"]
    assert "test accuracy" in capsys.readouterr().out
    files = sorted(path.name for path in out.iterdir())
    assert files == ["landscapes.png", "report.html", "results.json"]
    assert not plt.get_fignums()


@pytest.mark.parametrize("kept", [0, 5, 30, 200])
def test_truncated_file_is_one_line(experiment, tmp_path, idx_folder, kept):
    damaged = idx_folder / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:kept])
    out = tmp_path / "out"
    message = experiment.failure("--data", "tiny", "--data-dir", idx_folder.parent, "--out", out)
    assert damaged.name in message
    assert not out.exists()


@pytest.mark.slow
def test_diverging_run_is_one_line(experiment, tmp_path):
    message = experiment.failure(*SMALL, "--learning-rate", "1e6", "--out", tmp_path)
    assert "not finite at step" in message
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("option", ["--epochs", "--seeds", "--batch-size", "--max-examples"])
def test_zero_is_refused(experiment, tmp_path, option):
    message = experiment.failure(option, "0", "--out", tmp_path)
    assert option.removeprefix("--").replace("-", "_") in message.replace("-", "_")


def test_vectors_are_refused(experiment, tmp_path):
    np.savez(tmp_path / "vectors.npz", train_features=np.zeros((4, 2)), train_label=np.arange(4))
    message = experiment.failure("--data", "vectors", "--data-dir", tmp_path)
    assert "vectors" in message


@pytest.mark.slow
def test_interrupted_tour_resumes(experiment, monkeypatch, tmp_path):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    experiment(*SMALL, "--out", straight)
    grid = tour.jn.landscape.loss_grid

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tour.jn.landscape, "loss_grid", interrupted)
    with pytest.raises(SystemExit, match="interrupted"):
        experiment(*SMALL, "--out", resumed)
    monkeypatch.setattr(tour.jn.landscape, "loss_grid", grid)
    experiment(*SMALL, "--out", resumed, "--resume")
    runs = [experiment.results(folder)["runs"] for folder in (straight, resumed)]
    for name, run in runs[0].items():
        del run["training_seconds"], runs[1][name]["training_seconds"]
    assert runs[0] == runs[1]


def test_wrong_option_ends_without_traceback():
    done = run_as_command("--no-such-option", timeout=120)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_tour_as_a_command(experiment, tmp_path):
    few = ["--epochs", "1", "--seeds", "2", "--resolution", "8", "--landscape-examples", "32"]
    assert "TRSGD" in experiment.as_a_command(*few, "--out", tmp_path)
    for run in experiment.results(tmp_path)["runs"].values():
        assert min(run["test_accuracy"]) > 0.8


def test_help_documents_every_option():
    done = run_as_command("--help", timeout=120)
    assert done.returncode == 0
    for option in (
        "--data", "--data-dir", "--epochs", "--batch-size", "--seeds", "--out", "--resume",
    ):  # fmt: skip
        assert option in done.stdout
