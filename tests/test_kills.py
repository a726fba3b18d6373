"""What is said of killed runs: that nothing but times is left out, and that a bit is noticed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.kills._compare import damaged, differences
from experiments.kills._kill import Ending, Moment, _is_due, done, draw, place_of
from experiments.kills._run import disturbed, table_of, verdict
from jaxnoise._results import write_npz
from jaxnoise.training._checkpoint import Checkpoints

X = np.linspace(-1.0, 1.0, 5, dtype=np.float32)
BIT = (X.view(np.uint32) ^ (np.arange(5) == 2)).view(np.float32)  # the last one of the middle


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize(
    "other",
    [BIT, X.astype(np.float64), X[:4], X[None], np.where(X == 0, -X, X)],
    ids=["bit", "dtype", "length", "shape", "sign of zero"],
)
def test_arrays(folders, other):
    assert X[2] == 0
    for folder, x in zip(folders, (X, X), strict=True):
        write_npz(folder / "state.npz", {"w": x, "b": X})
    assert differences(*folders) == []
    write_npz(folders[1] / "state.npz", {"w": other, "b": X})
    assert differences(*folders) == ["state.npz: w"]


def test_nan_is_itself(folders):
    for folder in folders:
        write_npz(folder / "grid.npz", {"values": np.array([np.nan, np.inf])})
    assert differences(*folders) == []


def test_times_are_left_out(folders):
    for seconds, folder in enumerate(folders):
        write_npz(folder / "history.npz", {"seconds": np.array(seconds), "steps": X})
        record = {"loss": 0.1, "history": [{"seconds": seconds, "steps": 5}]}
        (folder / "part.json").write_text(json.dumps(record))
    assert differences(*folders) == []
    record["history"][0]["steps"] = 6
    (folders[1] / "part.json").write_text(json.dumps(record))
    assert differences(*folders) == ["part.json: content"]


def test_last_line_of_an_epoch_counts(folders):
    lines = [{"run": "sgd", "epoch": epoch, "train loss": 1 / epoch} for epoch in (1, 2)]
    stale = {**lines[0], "train loss": 0.0}
    for folder, found in zip(folders, (lines, [stale, lines[0], lines[1]]), strict=True):
        (folder / "curves.jsonl").write_text("\n".join(map(json.dumps, found)) + "\n")
    assert differences(*folders) == []
    (folders[1] / "curves.jsonl").write_text(json.dumps(lines[0]) + "\n")
    assert differences(*folders) == ["curves.jsonl: ['sgd', 2, None]"]


@pytest.mark.parametrize("name", [".state.npz.12.part", "checkpoints/.lock", "results.json"])
def test_files_of_one_folder_alone(folders, name):
    (folders[1] / name).parent.mkdir(exist_ok=True)
    (folders[1] / name).write_text("{}")
    assert differences(*folders) == differences(*folders[::-1]) == [f"{name}: content"]


def test_files_that_are_not_whole(folders):
    folder = folders[0]
    write_npz(folder / "state.npz", {"w": X})
    (folder / "parts").mkdir()
    (folder / "parts" / "seed0.json").write_text("{}")
    (folder / ".state.npz.12.part").write_bytes(b"PK")
    assert damaged(folder) == []
    (folder / "state.npz").write_bytes((folder / "state.npz").read_bytes()[:-1])
    (folder / "parts" / "seed0.json").write_text("{")
    assert damaged(folder) == ["parts/seed0.json: damaged", "state.npz: damaged"]


def save(folder, w, key=0, steps=5, epochs=(1,)):
    checkpoints = Checkpoints(folder / "checkpoints")
    carry = {"w": jnp.asarray(w), "key": jax.random.key(key)}
    checkpoints.newest(carry, {"num_examples": 3})
    for epoch in epochs:
        record = {"steps": steps, "seconds": float(hash(folder))}
        checkpoints.save(epoch, carry, [record])
    checkpoints.close()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"w": BIT}, ["checkpoints/1: leaves/1"]),
        ({"key": 1}, ["checkpoints/1: leaves/0"]),
        ({"steps": 6}, ["checkpoints/1: metadata"]),
    ],
    ids=["nothing", "bit", "key", "history"],
)
def test_checkpoints(folders, change, found):
    save(folders[0], X)
    save(folders[1], **{"w": X} | change)
    assert differences(*folders) == found


def test_one_checkpoint_more(folders):
    save(folders[0], X)
    save(folders[1], X, epochs=(1, 2))
    assert {name.split(":")[0] for name in differences(*folders)} == {"checkpoints/2"}


def test_place_of_a_kill(tmp_path):
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "1" / "data").touch()
    (tmp_path / "checkpoints" / ".lock").touch()
    before = done(tmp_path)
    (tmp_path / "checkpoints" / ".lock").write_text("taken again")
    (tmp_path / ".grid.npz.lock").touch()
    assert place_of(tmp_path, before) == "start"
    (tmp_path / "checkpoints" / "2").mkdir()
    (tmp_path / "checkpoints" / "2" / "data").touch()
    assert place_of(tmp_path, before) == "step"
    for begun in ("3.orbax-checkpoint-tmp", ".grid.npz.part.12.part"):
        (tmp_path / begun).mkdir()
        assert place_of(tmp_path, before) == "save"
        (tmp_path / begun).rmdir()


def test_moments():
    alone = Ending(None, 0, 3.0, (0.1, 0.2))
    rng = np.random.default_rng(0)
    moments = [draw(rng, number, alone) for number in range(200)]
    anywhere, saves = moments[::2], moments[1::2]
    assert {moment.save for moment in anywhere} == {None}
    assert 2.9 < max(moment.seconds for moment in anywhere) < 3
    assert {moment.save for moment in saves} == {0, 1}
    assert 0.19 < max(moment.seconds for moment in saves) < 0.2
    assert all(moment.seconds < alone.saves[moment.save] for moment in saves)
    assert draw(rng, 1, Ending(None, 0, 3.0, ())).save is None


@pytest.mark.parametrize(
    ("moment", "times"),
    [(Moment(2.5), {3}), (Moment(0.5, 0), {2, 3}), (Moment(0.5, 1), {4, 5}), (Moment(9.0, 0), {3})],
)
def test_moment_comes(moment, times):
    """A save from second 1 to 3, and one from 4 on."""
    states = {0: ([], None), 1: ([], 1), 2: ([], 1), 3: ([2.0], None), 4: ([2.0], 3.5)}
    states[5] = ([2.0], 3.5)
    due = {now for now, state in states.items() if _is_due(moment, now, 0.0, *state)}
    assert times <= due
    assert min(times) == min(due)


def test_a_run_goes_on_until_it_ends(monkeypatch, tmp_path):
    """Three kills at most; a moment that never comes is used up as well."""
    endings, given = [], []

    def run_job(job, folder, programs, moment):
        given.append(moment)
        return endings.pop(0) if moment else Ending(None, 0, 1.0, ())

    monkeypatch.setattr("experiments.kills._run.run_job", run_job)
    killed, missed = Ending("save", -9, 1.0, ()), Ending(None, 0, 1.0, ())
    failed = Ending(None, 1, 1.0, ())
    moments = [Moment(float(k)) for k in range(6)]
    endings[:] = [killed, killed, killed]
    assert disturbed("grid", tmp_path, tmp_path, moments)["places"] == ["save"] * 3
    assert given.pop() is None
    assert len(moments) == 3
    endings[:] = [killed, missed]
    assert disturbed("grid", tmp_path, tmp_path, moments)["places"] == ["save"]
    assert len(moments) == 1
    (tmp_path / "state.npz").touch()
    endings[:] = [missed]
    assert disturbed("grid", tmp_path, tmp_path, moments[:1])["differences"] == [
        "state.npz: damaged"
    ]
    (tmp_path / "state.npz").unlink()
    endings[:] = [failed]
    assert disturbed("grid", tmp_path, tmp_path, moments)["differences"] == ["exit status 1"]
    assert moments == []


def test_table():
    row = {"seconds": 2.0, "kills": 5, "hit": 4, "places": {"save": 3, "step": 1}}
    rows = {"grid": row | {"runs": 3, "identical": 2}}
    header, body = table_of(rows)
    assert dict(zip(header, body[0], strict=True))["identical runs"] == "2 of 3"
    assert body[0][3:7] == ["4", "0", "1", "3"]
    assert verdict(rows) == "4 kills in 3 runs: 2 runs left what undisturbed ones leave."


def test_wrong_options(experiment, tmp_path):
    message = experiment.failure("--kills", "0", "--out", tmp_path)
    assert message == "error: --kills must be at least 1, got 0"


@pytest.mark.slow
def test_as_a_command(experiment, tmp_path):
    said = experiment.as_a_command("--kills", "3", "--only", "stages", "--out", tmp_path)
    row = experiment.results(tmp_path)["jobs"]["stages"]
    assert row["identical"] == row["runs"] >= 1
    assert row["hit"] == sum(row["places"].values()) >= 1
    assert row["saves"] >= 1
    assert f"{row['hit']} kills in" in said
    assert (tmp_path / "report.html").is_file()
    experiment.as_a_command("--kills", "3", "--only", "stages", "--out", tmp_path, "--resume")
    assert experiment.results(tmp_path)["jobs"]["stages"] == row
