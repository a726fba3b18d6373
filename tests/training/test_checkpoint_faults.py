"""Runs that fail, or are stopped, while they write checkpoints, and folders that can't be used."""

import errno
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1

from jaxnoise import _lock
from jaxnoise._lock import held
from jaxnoise.schedules import NoiseStage
from jaxnoise.training import _checkpoint

CHECKPOINTER = v1.training.Checkpointer
HOLD = """
import runpy, sys, time
with runpy.run_path(sys.argv[1])["held"](sys.argv[2], "checkpoint_dir"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(fit):
    def run(folder, size=3, **options):
        def loss(w, state, batch, key):
            return (batch["x"] - w.mean()) ** 2, state

        data = {"x": np.linspace(0.0, 1.0, 4, dtype=np.float32)}
        start = np.random.default_rng(0).normal(size=size).astype(np.float32)
        return fit(
            jax.random.key(0), loss, jnp.asarray(start), (), optax.adam(0.1), data,
            NoiseStage(4, 0.1, 2), checkpoint_dir=folder, **options,
        )  # fmt: skip

    return run


def one_line(error):
    assert "\n" not in str(error)
    return str(error)


def test_folder_in_use_is_refused(run, tmp_path, assert_same_run):
    run(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with held(tmp_path, "checkpoint_dir"):
        with pytest.raises(BlockingIOError, match="in use by another run: wait until") as caught:
            run(tmp_path)
        assert str(tmp_path) in one_line(caught.value)
        assert "another checkpoint_dir" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before == ["3", "4"]
    assert_same_run(run(tmp_path), run(None))


def test_run_keeps_others_out_until_its_end(run, tmp_path):
    def another(*_):
        with pytest.raises(BlockingIOError, match="in use by another run"):
            run(tmp_path)

    run(tmp_path, on_epoch=another)
    run(tmp_path)


@pytest.mark.skipif(_lock.fcntl is None, reason="the system has no such locks")
def test_process_that_is_killed_lets_go(tmp_path):
    command = [sys.executable, "-c", HOLD, _lock.__file__, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(BlockingIOError), held(tmp_path, "--out"):
                pass
        finally:
            process.kill()
    assert os.listdir(tmp_path) == [".lock"]
    with held(tmp_path, "--out"):
        pass
    assert os.listdir(tmp_path) == []


def test_systems_without_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(_lock, "fcntl", None)
    with held(tmp_path / "new", "--out"), held(tmp_path / "new", "--out"):
        assert (tmp_path / "new").is_dir()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(_lock.fcntl is None, reason="the system has no such locks")
def test_lock_that_its_owner_just_removed_is_none(monkeypatch, tmp_path):
    """Between opening and locking, the run that had the file may end and remove it."""
    flock, taken = _lock.fcntl.flock, []

    def removed_meanwhile(file, operation):
        if not taken:
            os.unlink(tmp_path / ".lock")
        taken.append(file)
        flock(file, operation)

    monkeypatch.setattr(_lock.fcntl, "flock", removed_meanwhile)
    with held(tmp_path, "--out"):
        assert len(taken) == 2
        with pytest.raises(BlockingIOError), held(tmp_path, "--out"):
            pass


def test_empty_new_folder_does_not_stay(tmp_path):
    for name in ("empty", "full", "deep/empty"):
        with held(tmp_path / name, "--out"):
            if name == "full":
                (tmp_path / name / "file").touch()
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == ["file"]


@pytest.mark.parametrize("below", [".", "below"])
def test_file_where_the_folder_should_be(below, run, tmp_path):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / below
    with pytest.raises(OSError, match=r"cannot be written to \(.+\): give another check") as caught:
        run(folder)
    assert str(tmp_path / "file") in one_line(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_folder_without_permission(number, run, monkeypatch, tmp_path):
    def refused(path, mode):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(_lock, "open", refused, raising=False)
    with pytest.raises(OSError, match=rf"{tmp_path} cannot be .*{os.strerror(number)}") as caught:
        run(tmp_path)
    one_line(caught.value)


def test_full_disk_leaves_the_checkpoints_before(run, monkeypatch, tmp_path, assert_same_run):
    save = CHECKPOINTER.save

    def full(self, epoch, *args, **options):
        if epoch == 3:
            raise OSError(errno.ENOSPC, "No space left on device", "a\nfile")
        return save(self, epoch, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CHECKPOINTER, "save", full)
        with pytest.raises(OSError, match="checkpoint of epoch 3 cannot be written") as caught:
            run(tmp_path)
    assert str(tmp_path) in one_line(caught.value)
    assert "No space left on device" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    assert_same_run(run(tmp_path), run(None))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of so many bytes; gives what resizes it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "none"]
        done = subprocess.run([*command, folder], capture_output=True)
        return done.returncode == 0

    if shutil.which("mount") is None or not mount(120_000):
        pytest.skip("no disk can be mounted here")
    yield folder, lambda size: mount(size, "remount")
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_full_disk(run, small_disk, assert_same_run):
    """The carry is 96 kB of numbers: one checkpoint fits, two don't."""
    folder, resize = small_disk
    with pytest.raises(OSError, match="checkpoint of epoch 2 cannot be written") as caught:
        run(folder / "checkpoints", size=8000)
    assert "No space left" in one_line(caught.value)
    assert resize(2_000_000)
    trained = []
    resumed = run(
        folder / "checkpoints", size=8000, on_epoch=lambda epoch, *_: trained.append(epoch)
    )
    assert trained == [2, 3, 4]
    assert_same_run(resumed, run(None, size=8000))
    assert sorted(os.listdir(folder / "checkpoints")) == ["3", "4"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_interrupted_save(is_begun, run, monkeypatch, tmp_path, assert_same_run):
    """Ctrl-C reaches the thread that waits for the save, not those that write."""

    def interrupted(self, epoch, *args, **options):
        if is_begun or epoch < 3:
            response = self.save_async(epoch, *args, **options)
        if epoch < 3:
            return response.result()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CHECKPOINTER, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert sorted(os.listdir(tmp_path)) == (["2", "3"] if is_begun else ["1", "2"])
    assert_same_run(run(tmp_path), run(None))


@pytest.mark.parametrize("left", ["all", "some"])
def test_old_checkpoint_that_a_killed_run_did_not_remove(left, run, tmp_path, assert_same_run):
    """As the last save is over, the oldest one goes; nothing is saved after that."""
    run(tmp_path)
    shutil.copytree(tmp_path / "3", tmp_path / "2")
    if left == "some":
        shutil.rmtree(tmp_path / "2" / "state" / "ocdbt.process_0")
        (tmp_path / "2" / "_CHECKPOINT_METADATA").unlink()
    assert_same_run(run(tmp_path), run(None))
    assert sorted(os.listdir(tmp_path)) == ["3", "4"]


def test_checkpoints_of_another_version_are_refused(run, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_FORMAT", 0)
        run(tmp_path)
    with pytest.raises(ValueError, match=r"is of another run \(format differ\): give") as caught:
        run(tmp_path)
    assert str(tmp_path) in one_line(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["3", "4"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's reads
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_cut_off_array_is_noticed(kept, run, tmp_path):
    run(tmp_path, size=1000)
    largest = max((tmp_path / "4").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match="is damaged: remove that folder") as caught:
        run(tmp_path, size=1000)
    assert str(tmp_path / "4") in one_line(caught.value)
