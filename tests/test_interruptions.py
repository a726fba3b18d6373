"""Experiments that are stopped, by signals or at once, and what they leave for --resume."""

import dataclasses
import importlib
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path

import pytest

import experiments
from experiments import tour
from experiments._common import begin, main, open_curves, remembered
from jaxnoise._lock import held
from jaxnoise._results import read_npz, whole_file, write_npz

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(experiments.__path__)
    if module.name not in ("_common", "benchmarks")
)
RECORD = {"steps": 20, "train": {"loss": 0.5}, "test": {}}


@dataclasses.dataclass(frozen=True)
class Config:
    """The options of no experiment."""

    out: Path = Path("out")


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Calls `main` with a function for an experiment; gives what it exits with."""

    def start(run, config=Config, options=()):
        command = ["experiment", "--out", str(tmp_path / "out"), *options]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            main(run, config)
        return stopped.value.code

    return start


@pytest.mark.parametrize("name", NAMES)
def test_all_experiments_resume(name):
    config = importlib.import_module(f"experiments.{name}").Config
    fields = {field.name: field for field in dataclasses.fields(config)}
    assert fields["resume"].default is False
    assert fields["out"].default == Path("runs") / name


@pytest.fixture
def heeds_sigint():
    """A process that was started in the background may not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_interrupt(name, start, tmp_path, heeds_sigint):
    def run(config):
        remembered(config.out / "part.json", lambda: 1)
        signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(signal.SIGTERM)
    assert start(run) == "interrupted"
    assert signal.getsignal(signal.SIGTERM) == before
    assert os.listdir(tmp_path / "out") == ["part.json"]


def test_folder_of_another_run_is_refused(start, tmp_path):
    ran = []
    with held(tmp_path / "out", "--out"):
        message = start(ran.append)
    assert not ran
    assert message.startswith(f"error: {tmp_path / 'out'} is in use by another run: wait until")
    assert message.endswith("another --out")


def test_folder_that_cannot_be_made(start, tmp_path):
    (tmp_path / "out").touch()
    assert start(pytest.fail).startswith(f"error: {tmp_path / 'out'} cannot be written to")


@pytest.mark.parametrize("resume", [False, True])
def test_parts_without_their_plan_are_nobodys(resume, tmp_path):
    """They are left where a run was killed while it removed those of the run before."""
    begin(tmp_path, {"epochs": 1}, resume=False)
    (tmp_path / "part.json").write_text("1")
    (tmp_path / "plan.json").unlink()
    begin(tmp_path, {"epochs": 2}, resume)
    assert remembered(tmp_path / "part.json", lambda: 2) == 2
    assert json.loads((tmp_path / "plan.json").read_text()) == {"epochs": 2}


def test_the_plan_goes_first(monkeypatch, tmp_path):
    def killed(folder, ignore_errors):
        raise KeyboardInterrupt

    begin(tmp_path, {"epochs": 1}, resume=False)
    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path, {"epochs": 2}, resume=False)
    assert not (tmp_path / "plan.json").exists()


def test_damaged_parts_are_named(tmp_path):
    (tmp_path / "part.json").write_text("{")
    with pytest.raises(ValueError, match=r"part\.json is damaged: remove it"):
        remembered(tmp_path / "part.json", dict)
    (tmp_path / "plan.json").write_text("")
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        begin(tmp_path, Config(), resume=True)


def test_tour_of_other_options_is_refused(start, monkeypatch):
    """The weight of an optimizer is part of no checkpoint."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tour, "starts_of", interrupted)
    few = ("--max-examples", "40")
    for more in ((), ("--resume",), ("--weight", "0.2")):
        assert start(tour.run, tour.Config, (*few, *more)) == "interrupted"
    message = start(tour.run, tour.Config, (*few, "--resume"))
    assert "is of a run with other options (weight differ): start anew without" in message


@pytest.mark.parametrize("torn", ["", '{"run": "sgd", "ep'])
def test_curves_go_on_after_a_torn_line(torn, tmp_path):
    for epoch in (1, 2):
        with open_curves(tmp_path, resume=True) as curves:
            curves.log("sgd", epoch, RECORD)
        if epoch == 1:
            with open(tmp_path / "curves.jsonl", "a", encoding="utf-8") as file:
                file.write(torn)
    lines = (tmp_path / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="nobody can be asked whether a process lives")
def test_beginnings_of_dead_processes_go(tmp_path):
    """Those of this file, whose process is gone."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitpid(pid, 0)
    kept = [f".a.npz.{os.getppid()}.part", ".a.npz.notes.part", f".b.npz.{pid}.part", "a.npz.part"]
    for name in (*kept, f".a.npz.{pid}.part"):
        (tmp_path / name).touch()
    write_npz(tmp_path / "a.npz", {})
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "a.npz"])
    assert read_npz(tmp_path / "a.npz") == {}


def test_beginning_of_the_same_process_stays(tmp_path):
    with whole_file(tmp_path / "[a]") as file:
        file.write(b"1")
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["[a]"]
