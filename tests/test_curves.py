"""Training curves as lines of JSON, and in the places that stand beside them."""

import json
import sys
import types

import pytest

from experiments._common import open_curves

RECORD = {"steps": 20, "train": {"loss": 0.5}, "test": {"accuracy": float("nan")}}
REPLICAS = {"steps": 20, "train": {"loss": [0.5, 0.25]}, "test": {}}


def lines_of(folder):
    text = (folder / "curves.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_lines(tmp_path):
    with open_curves(tmp_path / "new") as curves:
        curves.log("sgd", 2, RECORD)
        first = {"run": "sgd", "epoch": 2, "steps": 20, "train loss": 0.5, "test accuracy": None}
        assert lines_of(tmp_path / "new") == [first]  # there before the file is closed
        curves.log("adam", 1, REPLICAS)
    assert lines_of(tmp_path / "new")[1:] == [
        {"run": "adam", "epoch": 1, "steps": 20, "replica": 0, "train loss": 0.5},
        {"run": "adam", "epoch": 1, "steps": 20, "replica": 1, "train loss": 0.25},
    ]


def test_resumed_curves_go_on(tmp_path):
    for resume, lines in ((False, 1), (True, 2), (False, 1)):
        with open_curves(tmp_path, resume=resume) as curves:
            curves.log("sgd", 1, RECORD)
        assert len(lines_of(tmp_path)) == lines


@pytest.mark.parametrize(("log", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_missing_package_is_named(monkeypatch, tmp_path, log, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"--log {log} needs {package}: pip install {package}"):
        open_curves(tmp_path, log)


def test_tensorboard(monkeypatch, tmp_path):
    told = []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            told.append((self.folder, name, value, step))

        def close(self):
            told.append(self.folder)

    monkeypatch.setitem(
        sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter)
    )
    with open_curves(tmp_path, "tensorboard") as curves:
        curves.log("sgd", 1, REPLICAS)
        curves.log("sgd", 2, REPLICAS)
    first, second = (str(tmp_path / "tensorboard" / "sgd" / name) for name in "01")
    pair = [(first, "train/loss", 0.5, 20), (second, "train/loss", 0.25, 20)]
    assert told == [*pair, *pair, first, second]


def test_wandb(monkeypatch, tmp_path):
    told = []

    def init(**options):
        told.append(options)
        return types.SimpleNamespace(log=told.append, finish=lambda: told.append("finished"))

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    with open_curves(tmp_path / "small", "wandb") as curves:
        curves.log("sgd", 1, REPLICAS)
    assert told == [
        {"project": "small", "dir": str(tmp_path / "small")},
        {"sgd/0/train loss": 0.5, "sgd/0/steps": 20},
        {"sgd/1/train loss": 0.25, "sgd/1/steps": 20},
        "finished",
    ]
