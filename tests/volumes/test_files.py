"""Volumes in files: there and back, and what is said of files that are none."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxnoise.volumes import read_volume, write_volume


def some_volume(shape=(11, 4, 5), dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        ("v.tif", ["uint8", "uint16", "int32", "float32", "float64"]),
        ("sub/v.TIFF", ["uint8"]),
        ("v.npz", ["bool", "uint8", "int64", "float32", "complex64"]),
        ("slices", ["uint8", "uint16"]),
    ],
)
@pytest.mark.parametrize("shape", [(11, 4, 5), (1, 4, 5), (3, 1, 7), (4, 3, 3)])
def test_there_and_back(tmp_path, name, dtypes, shape):
    for dtype in dtypes:
        path = tmp_path / dtype / name
        volume = some_volume(shape, dtype)
        write_volume(path, volume)
        found = read_volume(str(path))
        np.testing.assert_array_equal(found, volume)
        assert found.dtype == volume.dtype
        assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["v.tif", "v.npz", "slices"])
@pytest.mark.parametrize("length", [1, 6])
def test_colours_and_masks(tmp_path, name, length):
    colors = some_volume((length, 4, 5, 3))
    write_volume(tmp_path / name, colors)
    np.testing.assert_array_equal(read_volume(tmp_path / name), colors)
    mask = some_volume() > 100
    write_volume(tmp_path / "mask" / name, mask)
    expected = mask if name == "v.npz" else 255 * mask.astype(np.uint8)
    found = read_volume(tmp_path / "mask" / name)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_slices_are_in_natural_order(tmp_path):
    for index in (1, 2, 9, 10, 11, 100):
        Image.fromarray(np.full((2, 3), index, np.uint8)).save(tmp_path / f"v1_z{index}.png")
    (tmp_path / "notes.txt").write_text("no slice")
    assert read_volume(tmp_path)[:, 0, 0].tolist() == [1, 2, 9, 10, 11, 100]


def test_pages_and_channels_of_others(tmp_path):
    volume = some_volume((6, 2, 4, 5))
    tifffile.imwrite(tmp_path / "v.tif", volume, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_volume(tmp_path / "v.tif"), np.moveaxis(volume, 1, -1))
    tifffile.imwrite(tmp_path / "slice.tif", volume[0, 0], compression="zlib")
    np.testing.assert_array_equal(read_volume(tmp_path / "slice.tif"), volume[:1, 0])


def test_one_array_of_several(tmp_path):
    first, second = some_volume(), some_volume((2, 3, 4), np.uint16)
    np.savez_compressed(tmp_path / "v.npz", first=first, second=second)
    np.testing.assert_array_equal(read_volume(tmp_path / "v.npz", "second"), second)
    with pytest.raises(ValueError, match="give the name of one of its arrays: first, second"):
        read_volume(tmp_path / "v.npz")
    with pytest.raises(ValueError, match="it has no array 'third', but first, second"):
        read_volume(tmp_path / "v.npz", "third")
    with pytest.raises(ValueError, match="name chooses an array of an"):
        read_volume(tmp_path, "first")


def test_nothing_is_left_of_what_fails(tmp_path, monkeypatch):
    write_volume(tmp_path / "v.tif", some_volume())

    def fail(*args, **options):
        raise OSError("no space left")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    monkeypatch.setattr(Image.Image, "save", fail)
    for name in ("v.tif", "slices"):
        with pytest.raises(OSError, match="no space left"):
            write_volume(tmp_path / name, some_volume((2, 2, 2)))
    assert [file.name for file in tmp_path.iterdir()] == ["v.tif"]
    np.testing.assert_array_equal(read_volume(tmp_path / "v.tif"), some_volume())


@pytest.mark.parametrize(
    ("name", "volume", "message"),
    [
        ("v.png", np.zeros((2, 2, 2)), "expected .tif, .tiff, .npz or no suffix"),
        ("v", np.zeros((2, 2, 2), np.int32), "PNG holds uint8 and uint16, not int32"),
        ("v.tif", np.zeros((2, 2, 2), complex), "TIFF holds integers and floating numbers"),
        ("v.tif", np.zeros((2, 2)), r"volume must be \(D, H, W\)"),
        ("v.tif", np.zeros((0, 2, 2)), r"volume must be \(D, H, W\)"),
        ("v.tif", np.zeros((2, 2, 2, 2), np.uint8), "volume must have 3 colours in uint8"),
        ("v.npz", np.full((2, 2, 2), None), "volume must hold numbers"),
        ("full", np.zeros((2, 2, 2), np.uint8), "full exists and holds something"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, volume, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match=message):
        write_volume(tmp_path / name, volume)
    assert [file.name for file in tmp_path.iterdir()] == ["full"]


def png(width, height):
    """A PNG file that declares a size and holds nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def npy(shape):
    """An .npy file that declares a shape and holds nothing."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def damaged(path, kind):
    path.mkdir()
    if kind == "mixed sizes":
        for index, size in enumerate([(2, 3), (2, 3), (3, 2)]):
            Image.fromarray(np.zeros(size, np.uint8)).save(path / f"z{index}.png")
    elif kind == "mixed types":
        for index, dtype in enumerate([np.uint8, np.uint16]):
            Image.fromarray(np.zeros((2, 3), dtype)).save(path / f"z{index}.png")
    elif kind == "truncated slice":
        write_volume(path / "a", some_volume((1, 90, 90)))
        path /= "a"
        (path / "z0001.png").write_bytes((path / "z0001.png").read_bytes()[:-2000])
    elif kind == "huge slice":
        (path / "z1.png").write_bytes(png(10_000, 8_000))
    elif kind == "text as a slice":
        (path / "z1.png").write_text("no picture")
    elif kind == "truncated tiff":
        write_volume(path / "v.tif", some_volume((5, 60, 60)))
        (path / "v.tif").write_bytes((path / "v.tif").read_bytes()[:9000])
        return path / "v.tif"
    elif kind == "mixed pages":
        with tifffile.TiffWriter(path / "v.tif") as file:
            file.write(np.zeros((4, 4), np.uint8))
            file.write(np.zeros((5, 4), np.uint8))
        return path / "v.tif"
    elif kind == "text as tiff":
        (path / "v.tif").write_text("no picture")
        return path / "v.tif"
    elif kind == "huge array":
        with zipfile.ZipFile(path / "v.npz", "w") as archive:
            archive.writestr("volume.npy", npy((10**4, 10**4, 10**4)))
        return path / "v.npz"
    elif kind == "objects":
        np.savez(path / "v.npz", volume=np.full((2, 2, 2), None))
        return path / "v.npz"
    elif kind == "text as npz":
        (path / "v.npz").write_text("no archive")
        return path / "v.npz"
    elif kind == "flat array":
        np.savez(path / "v.npz", volume=np.zeros(4))
        return path / "v.npz"
    elif kind == "another suffix":
        (path / "v.raw").write_bytes(b"\0" * 8)
        return path / "v.raw"
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("mixed sizes", r"z2.png is \(3, 2\) uint8, but z0.png \(2, 3\) uint8"),
        ("mixed types", r"z1.png is \(2, 3\) uint16, but"),
        ("truncated slice", "truncated"),
        ("huge slice", "it declares 80000000 bytes"),
        ("text as a slice", "cannot identify image file"),
        ("truncated tiff", "can't be read as a volume"),
        ("mixed pages", "its pages make 2 stacks"),
        ("text as tiff", "not a TIFF"),
        ("huge array", "it declares 1000000000000 bytes"),
        ("objects", "allow_pickle|pickle"),
        ("text as npz", "pickle|zip|archive"),
        ("flat array", r"it holds no volume \(D, H, W\)"),
        ("another suffix", "expected .tif, .tiff, .npz or a folder"),
        ("empty folder", "there are no .png files in it"),
    ],
)
def test_files_that_hold_no_volume(tmp_path, kind, message):
    path = damaged(tmp_path / "folder", kind)
    with pytest.raises(ValueError, match=message) as error:
        read_volume(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        read_volume(tmp_path / "v.tif")
