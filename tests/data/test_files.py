"""The readers: what was written comes back, and damage of any kind is one ValueError."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnoise.data import read_idx, read_libsvm, read_npz

IDX_DTYPES = ("u1", "i1", "i2", "i4", "f4", "f8")


def _read_or_one_line(reader, path):
    """What is read, or None after a ValueError of one line that names the file."""
    try:
        return reader(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(IDX_DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, max_side=4))
    ),
    zipped=st.booleans(),
)
def test_idx_round_trip(as_idx, array, zipped):
    data = as_idx(array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images-idx")
        path.write_bytes(gzip.compress(data) if zipped else data)
        read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_idx_empty_and_unicode_path(as_idx, tmp_path):
    path = tmp_path / "Bilder – 画像 é.gz"
    path.write_bytes(gzip.compress(as_idx(np.zeros((0, 28, 28), np.uint8))))
    assert read_idx(path).shape == (0, 28, 28)
    assert read_idx(str(path)).shape == (0, 28, 28)


def test_idx_truncated_anywhere(as_idx, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    plain = as_idx(array)
    for data in (plain, gzip.compress(plain)):
        path = tmp_path / "train-images-idx3-ubyte.gz"
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: .*get the file"):
                read_idx(path)
        path.write_bytes(data)
        np.testing.assert_array_equal(read_idx(path), array)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), value=st.integers(1, 255))
def test_idx_any_byte_changed_is_noticed_in_a_gz(as_idx, position, value):
    array = np.arange(200, dtype=np.uint8).reshape(10, 20)
    data = bytearray(gzip.compress(as_idx(array), mtime=0))
    data[position % len(data)] ^= value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.gz")
        path.write_bytes(data)
        read = _read_or_one_line(read_idx, path)
    if read is not None:  # a byte of the gzip header that says nothing of the content
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "first bytes"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x01x", "first bytes"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x01x", "first bytes"),
        (b"PK\x03\x04 something else", "first bytes"),
        (b"\x00\x00\x08\xff" + b"\x00" * 2000, "rank 255"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x02", "cut off"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01xy", "follow"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03xy", "declares|ends after"),
        (b"\x00\x00\x0e\x03" + b"\xff" * 12 + b"tail", "more than the file can hold"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_refuses(tmp_path, data, reason, zipped):
    path = tmp_path / "damaged-idx1-ubyte"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ValueError, match=rf"damaged-idx1-ubyte: .*({reason}).*an idx file"):
        read_idx(path)


@pytest.mark.parametrize("reader", [read_idx, read_npz, read_libsvm])
def test_missing_file_and_folder(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"absent\.x: no such file; .*JAXNOISE_DATA_DIR"):
        reader(tmp_path / "absent.x")
    with pytest.raises(ValueError, match="not a file"):
        reader(tmp_path)


def test_npz_round_trip(tmp_path):
    arrays = {
        "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "swapped": np.arange(3, dtype=">f8"),
        "names": np.array(["a", "bé"]),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "é.npz", **arrays)
        read = read_npz(tmp_path / "é.npz")
        assert read.keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(read[key], array)
            assert read[key].dtype.isnative


class _Trap:
    """Unpickling one makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_npz_executes_nothing(tmp_path):
    trap = np.array([_Trap(tmp_path / "sprung")], dtype=object)
    np.savez(tmp_path / "trap.npz", x=trap)
    with pytest.raises(ValueError, match=r"trap\.npz: .*pickle"):
        read_npz(tmp_path / "trap.npz")
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    with pytest.raises(ValueError, match=r"raw\.npz: it is no zip"):
        read_npz(tmp_path / "raw.npz")
    assert not (tmp_path / "sprung").exists()


def test_npz_truncated(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.arange(300), y=np.ones((3, 2)))
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"x\.npz: .*get the file again"):
            read_npz(path)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), value=st.integers(1, 255))
def test_npz_any_byte_changed(position, value):
    arrays = {"x": np.arange(40), "y": np.ones((3, 2), np.float32)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    data = bytearray(buffer.getvalue())
    data[position % len(data)] ^= value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npz")
        path.write_bytes(data)
        read = _read_or_one_line(read_npz, path)
    if read is not None:  # not in the arrays, whose checksums zip holds: a date, a name …
        assert all(array.dtype.kind in "if" for array in read.values())


def test_npz_declaring_an_absurd_shape(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(ValueError, match=r"x\.npz: "):
        read_npz(tmp_path / "x.npz")


LIBSVM_TEXT = b"+1 1:0.5 3:2\n-1 2:1 # comment\n\n-1\n"
LIBSVM_FEATURES = [[0.5, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress, lzma.compress])
def test_libsvm_plain_and_packed(tmp_path, pack):
    path = tmp_path / "tïny"
    path.write_bytes(pack(LIBSVM_TEXT))
    batch = read_libsvm(path, num_features=4)
    np.testing.assert_array_equal(batch["features"], np.array(LIBSVM_FEATURES, np.float32))
    np.testing.assert_array_equal(batch["label"], [1, -1, -1])
    assert batch["features"].dtype == np.float32
    assert batch["label"].dtype == np.int32
    assert read_libsvm(path)["features"].shape == (3, 3)


def test_libsvm_numbers_features_from_1_unless_0_occurs(tmp_path):
    (tmp_path / "one").write_text("1 2:7\n")
    (tmp_path / "zero").write_text("1.5 0:7 2:8\n")
    np.testing.assert_array_equal(read_libsvm(tmp_path / "one")["features"], [[0, 7]])
    zero = read_libsvm(tmp_path / "zero")
    np.testing.assert_array_equal(zero["features"], [[7, 0, 8]])
    assert zero["label"].dtype == np.float32


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# nothing but a comment\n",
        b"one two three\n",
        b"1 2:x\n",
        b"1 2;3\n",
        b"1 -1:3 2:2\n",
        b"1 3:1 2:1\n",
        b"1 2147483000:1\n" * 10,
        b"1 99999999999999999999:1\n",
        b"\x00\x01\x02\xff\xfe",
        bz2.compress(LIBSVM_TEXT)[:-9],
        bz2.compress(LIBSVM_TEXT)[:20] + b"junk",
        gzip.compress(LIBSVM_TEXT, mtime=0)[:-3],
        lzma.compress(LIBSVM_TEXT)[:-3],
    ],
)
def test_libsvm_refuses(tmp_path, data):
    path = tmp_path / "wrong.bz2"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"wrong\.bz2: .*LIBSVM text"):
        read_libsvm(path)


def test_libsvm_refuses_features_beyond_the_number_given(tmp_path):
    (tmp_path / "tiny").write_bytes(LIBSVM_TEXT)
    with pytest.raises(ValueError, match=r"tiny: .*2"):
        read_libsvm(tmp_path / "tiny", num_features=2)
