"""Grids that are kept in a file as they grow."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise import _lock
from jaxnoise._progress import Progress
from jaxnoise.landscape import LossGrid, _points, loss_grid, loss_grids

RESOLUTION = 4  # 16 points and the centre: 5 rows, as the centre opens another


class Interruption(Exception):
    pass


def grid_of(problem, **options):
    arguments = {name: getattr(problem, name) for name in ("params", "directions", "data")}
    loss_fn = options.pop("loss_fn", problem.loss_fn)
    return loss_grid(loss_fn, **arguments | {"resolution": RESOLUTION} | options)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def blocks(monkeypatch):
    """The sizes of the blocks that are computed."""
    sizes = []

    def counted(*args, compiled=_points._losses_at, **options):
        sizes.append(len(args[-1]))
        return compiled(*args, **options)

    monkeypatch.setattr(_points, "_losses_at", counted)
    return sizes


def interrupt_after(rows, monkeypatch, name):
    """Lets `rows` blocks through, then fails in the place called `name`."""
    place, attribute = {"write": (_points, "write_npz"), "progress": (Progress, "update")}[name]
    original = getattr(place, attribute)
    done = []

    def failing(*args):
        if name == "write" and len(done) == rows:
            raise Interruption
        original(*args)
        done.append(args)
        if name == "progress" and len(done) == rows + 1:  # the first counts what was done before
            raise Interruption

    monkeypatch.setattr(place, attribute, failing)


def test_the_file_holds_the_same_grid(problem, tmp_path):
    path = tmp_path / "grid.npz"
    with_file = grid_of(problem, path=path)
    assert_same(with_file, grid_of(problem))
    assert_same(LossGrid.load(path), with_file)
    assert os.listdir(tmp_path) == ["grid.npz"]


def test_all_blocks_are_of_one_size(problem, tmp_path, blocks):
    grid_of(problem, path=tmp_path / "grid.npz")
    assert blocks == [4] * 5


@pytest.mark.parametrize("place", ["write", "progress"])
@pytest.mark.parametrize("rows", [0, 1, 3, 4])
def test_an_interrupted_grid_goes_on(problem, tmp_path, monkeypatch, blocks, place, rows):
    path = tmp_path / "grid.npz"
    with monkeypatch.context() as patch:
        interrupt_after(rows, patch, place)
        with pytest.raises(Interruption):
            grid_of(problem, loss_fn=problem.metrics_fn, path=path)
    assert os.listdir(tmp_path) == (["grid.npz.part"] if rows else [])
    blocks.clear()
    resumed = grid_of(problem, loss_fn=problem.metrics_fn, path=path)
    assert len(blocks) == 5 - rows
    assert_same(resumed, grid_of(problem, loss_fn=problem.metrics_fn))
    assert os.listdir(tmp_path) == ["grid.npz"]


def test_a_grid_that_was_only_not_saved_computes_nothing(problem, tmp_path, monkeypatch, blocks):
    path = tmp_path / "grid.npz"
    with monkeypatch.context() as patch:
        patch.setattr(LossGrid, "save", lambda *_: (_ for _ in ()).throw(Interruption))
        with pytest.raises(Interruption):
            grid_of(problem, path=path)
    blocks.clear()
    resumed = grid_of(problem, path=path)
    assert not blocks
    assert_same(resumed, grid_of(problem))


@pytest.fixture
def begun(problem, tmp_path, monkeypatch):
    """The path of a grid that was interrupted after two rows."""
    with monkeypatch.context() as patch:
        interrupt_after(2, patch, "write")
        with pytest.raises(Interruption):
            grid_of(problem, path=tmp_path / "grid.npz")
    return tmp_path / "grid.npz"


def other(tree):
    return jax.tree.map(lambda x: x + np.float32(1), tree)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"params": other(p.params)},
        lambda p: {"directions": p.directions[::-1]},
        lambda p: {"data": p.data | {"y": other(p.data["y"])}},
        lambda p: {"radius": 0.7},
        lambda p: {"resolution": 5},
        lambda p: {"loss_fn": lambda params, batch: 2 * p.loss_fn(params, batch)},
        lambda p: {"loss_fn": lambda params, batch: {"error": p.loss_fn(params, batch)}},
        lambda p: {"loss_fn": jax.tree_util.Partial(weighted, jnp.array(2.0))},
        lambda p: {"loss_fn": lambda params, batch: p.loss_fn(params, batch) + np.arange(11.0)},
    ],
)
def test_rows_of_another_grid_are_refused(problem, begun, change):
    before = begun.with_name("grid.npz.part").read_bytes()
    with pytest.raises(ValueError, match="beginning of another grid: remove it, or give another"):
        grid_of(problem, path=begun, **change(problem))
    assert begun.with_name("grid.npz.part").read_bytes() == before


def weighted(weight, params, batch):
    return weight * batch["y"]


def test_a_weight_inside_the_loss_belongs_to_the_grid(problem, tmp_path, monkeypatch):
    path = tmp_path / "grid.npz"
    with monkeypatch.context() as patch:
        interrupt_after(1, patch, "write")
        with pytest.raises(Interruption):
            grid_of(problem, loss_fn=jax.tree_util.Partial(weighted, jnp.array(2.0)), path=path)
    with pytest.raises(ValueError, match="beginning of another grid"):
        grid_of(problem, loss_fn=jax.tree_util.Partial(weighted, jnp.array(3.0)), path=path)


def test_the_same_loss_written_anew_goes_on(problem, begun, blocks):
    grid_of(problem, loss_fn=lambda params, batch: problem.loss_fn(params, batch), path=begun)
    assert len(blocks) == 3


def test_other_chunks_go_on(problem, begun, blocks):
    resumed = grid_of(problem, path=begun, chunk_size=3, vmap_points=2)
    assert len(blocks) == 3
    np.testing.assert_allclose(resumed.values, grid_of(problem).values, rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"])
def test_a_damaged_part_is_refused(problem, tmp_path, content):
    (tmp_path / "grid.npz.part").write_bytes(content)
    with pytest.raises(ValueError, match=r"grid\.npz\.part is no readable"):
        grid_of(problem, path=tmp_path / "grid.npz")


def test_someone_elses_part_is_refused(problem, tmp_path):
    np.savez(tmp_path / "part.npz", loss=np.zeros(4))
    os.rename(tmp_path / "part.npz", tmp_path / "grid.npz.part")
    with pytest.raises(ValueError, match="beginning of another grid"):
        grid_of(problem, path=tmp_path / "grid.npz")


@pytest.mark.skipif(_lock.fcntl is None, reason="the system has no such locks")
def test_one_run_at_a_time_has_a_file(problem, tmp_path, monkeypatch):
    path, refused = tmp_path / "grid.npz", []

    def written(*args, write=_points.write_npz):
        write(*args)
        if refused:
            return
        with pytest.raises(BlockingIOError) as caught:
            grid_of(problem, path=path)
        refused.append(str(caught.value))
        grid_of(problem, path=tmp_path / "other.npz")

    monkeypatch.setattr(_points, "write_npz", written)
    grid = grid_of(problem, path=path)
    another = "wait until that has ended, or give another path"
    assert refused == [f"{path} is in use by another run: {another}"]
    assert sorted(os.listdir(tmp_path)) == ["grid.npz", "other.npz"]
    for name in os.listdir(tmp_path):
        assert_same(LossGrid.load(tmp_path / name), grid)


@pytest.mark.skipif(_lock.fcntl is None, reason="the system has no such locks")
def test_grids_that_are_being_written_are_refused(problem, tmp_path):
    given = (jax.random.key(0), problem.loss_fn, problem.params, problem.data)
    with (
        _lock.held_file(tmp_path / "grids.npz", "path"),
        pytest.raises(BlockingIOError, match=r"grids\.npz is in use by another run"),
    ):
        loss_grids(*given, num=2, resolution=RESOLUTION, path=tmp_path / "grids.npz")
    assert os.listdir(tmp_path) == []


def test_all_rows_share_one_program(problem, tmp_path, compilations):
    grid_of(problem, path=tmp_path / "first.npz")
    assert compilations(lambda: grid_of(problem, path=tmp_path / "second.npz").values) == 0


def test_progress_counts_points(problem, tmp_path, capsys):
    grid_of(problem, path=tmp_path / "grid.npz", progress=True)
    assert "landscape: 20/20 points" in capsys.readouterr().err


def test_progress_without_a_file(problem, capsys, blocks):
    shown = grid_of(problem, progress=True)
    assert blocks == [4] * 5
    assert "landscape: 20/20 points" in capsys.readouterr().err
    assert_same(shown, grid_of(problem))


def test_silent_without_progress(problem, tmp_path, capsys):
    grid_of(problem, path=tmp_path / "grid.npz")
    assert capsys.readouterr() == ("", "")
