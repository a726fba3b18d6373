"""Hostile files and paths: damaged ones are refused in one line, and nothing in them is executed.

A row is a name, what makes the file (or None), what reads or writes it, the error and what the
message must match besides the file's name.
"""

import gzip
import importlib
import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise import data, landscape, schedules, training, volumes
from jaxnoise.gradients import NoiseProfile, VanishingGradients

AXIS = np.arange(3.0)
GRID = landscape.LossGrid(AXIS, AXIS, np.ones((3, 3)), np.float64(0))
VOLUME = np.zeros((2, 4, 5), np.uint8)
TEBIBYTE = 2**40


class Trap:
    """Unpickling one makes a folder, the current one's "sprung"."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


TRAPS = np.array([Trap()], dtype=object)


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def with_header(header, **arrays):
    text = header if isinstance(header, str) else json.dumps(header)
    return archive(__jaxnoise__=np.array(text), **arrays)


def npy(shape, descr="|u1"):
    """An .npy file that declares a shape and holds nothing."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def declaring(shape, name="alphas", descr="|u1"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr(f"{name}.npy", npy(shape, descr))
    return file.getvalue()


def tiff(width, height, bits=8):
    """A TIFF file of one strip, of which there are four bytes."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 12)
        + b"\0" * 4
        + struct.pack("<H", len(tags))
        + entries
        + (b"\0" * 4)
    )


def idx(shape, kind=8):
    return bytes([0, 0, kind, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


def kept(kind, fields, version=1):
    return {"result": kind, "format": version, "fields": fields}


def whole(**fields):
    return with_header(kept("LossGrid", {name: name for name in fields}), **fields)


SAVED = whole(alphas=AXIS, betas=AXIS, values=np.ones((3, 3)), center=np.float64(0))
NO_ARCHIVE = "is no readable .npz file: it is no zip archive, or its end is missing"
DAMAGED = "has a damaged header: get the file again"
RESULTS = [
    ("nothing", b"", NO_ARCHIVE),
    ("text", b"one\ntwo\n", NO_ARCHIVE),
    ("a pickle", pickle.dumps(Trap()), NO_ARCHIVE),
    ("a single array", npy((3,)) + bytes(3), NO_ARCHIVE),
    ("half of it", SAVED[: len(SAVED) // 2], NO_ARCHIVE),
    ("its end alone", SAVED[-22:], "is no readable .npz file"),
    (
        "a byte changed",
        SAVED.replace(np.float64(2).tobytes(), np.float64(3).tobytes()),
        "is no readable .npz file",
    ),
    ("pickled objects", archive(alphas=TRAPS), "is no readable .npz file: Object arrays"),
    ("a tebibyte declared", declaring((TEBIBYTE,)), "declares 1099511627776 bytes of shape"),
    ("four gibibytes declared", declaring((2**16, 2**16)), "declares 4294967296 bytes"),
    ("a negative shape", declaring((-1, 4)), "is no readable .npz file|damaged|declares"),
    ("an unknown dtype", declaring((2,), descr="|x9"), "is no readable .npz file"),
    ("no header", archive(alphas=AXIS), "not one that LossGrid.save wrote"),
    ("a header that is no JSON", with_header("{"), DAMAGED),
    ("a header of numbers", archive(__jaxnoise__=AXIS), DAMAGED),
    ("a header that is a list", with_header([1, 2]), DAMAGED),
    ("a header without a kind", with_header({"fields": {}, "format": 1}), DAMAGED),
    ("a header without fields", with_header({"result": "LossGrid", "format": 1}), DAMAGED),
    ("fields in a list", with_header(kept("LossGrid", [1])), DAMAGED),
    (
        "a format to come",
        with_header(kept("LossGrid", {}, 2)),
        "is of format 2, this version reads",
    ),
    ("another result", with_header(kept("LossLine", {})), "holds a LossLine, not a LossGrid"),
    ("fields unheard of", with_header(kept("LossGrid", {"z": "z"})), "has fields .* lacks: z"),
    ("a field astray", with_header(kept("LossGrid", {"alphas": "x"})), "incomplete: x is missing"),
    ("a field as a number", with_header(kept("LossGrid", {"alphas": 5})), "incomplete"),
    ("a field as a list", with_header(kept("LossGrid", {"alphas": ["alphas"]})), "incomplete"),
]
READERS = [
    ("archive of a tebibyte", "x.npz", declaring((TEBIBYTE,)),
     data.read_npz, "declares 1099511627776"),
    ("archive of objects", "x.npz", archive(x=TRAPS),
     data.read_npz, "Object arrays cannot be loaded"),
    ("archive of a bad dtype", "x.npz", declaring((2,), descr="|x9"), data.read_npz, "descr"),
    ("idx of 4 GiB", "x", idx((2**16, 2**16)), data.read_idx, "more than the file can hold"),
    ("idx of 4 GiB, zipped", "x.gz", gzip.compress(idx((2**16, 2**16))), data.read_idx,
     "more than the file can hold"),
    ("idx of 32 axes", "x", idx((2**8,) * 32), data.read_idx, "more than the file can hold"),
    ("idx in half a gzip", "x.gz", gzip.compress(idx((2,)) + b"ab")[:-9], data.read_idx,
     "ended before|ends after"),
    ("gzip header alone", "x.gz", b"\x1f\x8b", data.read_idx, "get the file again"),
    ("LIBSVM with a zero byte", "x", b"1 1:\0\n", data.read_libsvm, "LIBSVM text"),
    ("LIBSVM of 8 EiB", "x", b"1 9223372036854775807:1\n", data.read_libsvm, "LIBSVM text"),
    ("volume of a tebibyte", "v.npz", declaring((2**20, 2**10, 2**10)), volumes.read_volume,
     "declares 1099511627776 bytes"),
    ("volume of objects", "v.npz", archive(x=TRAPS), volumes.read_volume, "Object arrays"),
    ("volume of text", "v.npz", archive(x=np.array([["a"]])), volumes.read_volume, "no volume"),
    ("TIFF of 16 EiB", "v.tif", tiff(2**32 - 1, 2**32 - 1), volumes.read_volume, "declares"),
    ("TIFF of 4 GiB", "v.tif", tiff(2**16, 2**16),
     volumes.read_volume, "declares 4294967296 bytes"),
    ("TIFF without pages", "v.tif", b"II*\0\x08\0\0\0\0\0\0\0\0\0",
     volumes.read_volume, "holds no volume"),
    ("TIFF of its magic", "v.tif", b"II*\0", volumes.read_volume, "can't be read"),
    ("BigTIFF cut off", "v.tif", b"II+\0\x08\0\0\0", volumes.read_volume, "can't be read"),
]  # fmt: skip


def test_the_tables_are_long():
    assert len(RESULTS) + len(READERS) >= 40


@pytest.fixture(autouse=True)
def _nothing_springs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def frugal():
    """Fails where more than 64 MiB were taken at once."""
    importlib.import_module("sklearn.datasets")  # takes memory once
    importlib.import_module("tifffile")
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize(
    ("content", "pattern"), [pytest.param(*row, id=name) for name, *row in RESULTS]
)
def test_results_of_someone_else(content, pattern, tmp_path, assert_refused, frugal):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    assert_refused(lambda: landscape.LossGrid.load(path), ValueError, rf"file\.npz.*({pattern})")


@pytest.mark.parametrize(
    ("name", "content", "read", "pattern"),
    [pytest.param(*row, id=title) for title, *row in READERS],
)
def test_files_of_someone_else(name, content, read, pattern, tmp_path, assert_refused, frugal):
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: read(path), ValueError, f"{name}.*({pattern})")


@pytest.mark.parametrize("kind", [NoiseProfile, VanishingGradients, training.History])
def test_every_result_refuses_another(kind, tmp_path, assert_refused):
    GRID.save(tmp_path / "grid.npz")
    pattern = f"grid.npz holds a LossGrid, not a {kind.__name__}"
    assert_refused(lambda: kind.load(tmp_path / "grid.npz"), ValueError, pattern)


@pytest.mark.parametrize("wrong", [0, -1])
def test_features_that_cannot_be(wrong, tmp_path, assert_refused):
    path = tmp_path / "x"
    path.write_text("1 1:2\n")
    pattern = f"num_features must be at least 1, got {wrong}"
    assert_refused(lambda: data.read_libsvm(path, wrong), ValueError, pattern)


# Paths

WRITERS = {
    "result": GRID.save,
    "vtk": lambda path: landscape.save_vtk(GRID, path),
    "npz volume": lambda path: volumes.write_volume(f"{path}.npz", VOLUME),
    "tiff": lambda path: volumes.write_volume(f"{path}.tif", VOLUME),
    "grid": lambda path: landscape.loss_grid(
        lambda w, batch: batch["x"] * w, jnp.ones(()), (jnp.ones(()),) * 2, {"x": np.ones(2)},
        resolution=2, path=path),
}  # fmt: skip
AS_NAMED = {"npz volume": ".npz", "tiff": ".tif"}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_where_a_file_is_wanted(writer, tmp_path, assert_refused):
    folder = tmp_path / f"taken{AS_NAMED.get(writer, '')}"
    folder.mkdir()
    write = lambda: WRITERS[writer](tmp_path / "taken")  # noqa: E731
    assert_refused(write, IsADirectoryError, r"taken\S* is a folder: give the name of a file")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_where_a_folder_is_wanted(writer, tmp_path, assert_refused):
    (tmp_path / "file").write_text("here")
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "deep" / "x"):
        write = lambda: WRITERS[writer](path)  # noqa: B023, E731
        assert_refused(write, NotADirectoryError, "is a file or lies in one")


@pytest.mark.parametrize("writer", ["result", "vtk", "npz volume", "tiff"])
def test_a_disk_without_room(writer, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[writer](tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ein Gitter", "格子 ∇ü", "a;b & 'c'", ".hidden"])
def test_names_that_are_unusual(name, tmp_path):
    folder = tmp_path / name
    path = folder / f"{name}.npz"
    GRID.save(path)
    np.testing.assert_array_equal(landscape.LossGrid.load(path).values, GRID.values)
    assert data.read_npz(path)["alphas"].tolist() == AXIS.tolist()
    landscape.save_vtk(GRID, folder / f"{name}.vtk")
    for stack in (f"{name}.tif", f"{name} slices"):
        volumes.write_volume(folder / stack, VOLUME)
        np.testing.assert_array_equal(volumes.read_volume(folder / stack), VOLUME)
    np.savez(folder / "set.npz", train_image=VOLUME, train_label=np.arange(2))
    loaded = data.load("set", data_dir=folder)
    assert loaded.train["image"].shape == (2, 4, 5, 1)


def test_checkpoints_in_a_folder_of_unusual_name(tmp_path):
    def train_loss(w, model_state, batch, key):
        return (batch["x"] - w) ** 2, model_state

    folder, stage = tmp_path / "ein Ordner 格", schedules.NoiseStage(1, 0.1, 2)
    given = (jax.random.key(0), train_loss, jnp.ones(()), (), optax.sgd, {"x": np.ones(4)}, stage)
    first, again = (training.fit(*given, checkpoint_dir=folder, progress=False) for _ in range(2))
    assert first.params == again.params
    assert folder.is_dir()
