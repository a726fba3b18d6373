"""Readers of single files: idx (MNIST's format), .npz and LIBSVM text."""

import bz2
import gzip
import io
import itertools
import lzma
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .._checks import check_count, one_line, shown
from .._results import open_npz
from ._dataset import Batch

# The third byte of an idx file names the type of its numbers, which are big-endian.
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DEFLATE_RATIO = 1032  # no deflate stream expands further
_MAX_DENSE_BYTES = 2**34


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an idx file, plain or gzipped, of any rank and number type.

    Args:
      path: the file; whether it is gzipped is seen from its first bytes.

    Returns:
      An array of the shape and type the file declares, in native byte order.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no idx file, is truncated, or holds more or less than it declares.

    References:
      Y. LeCun, C. Cortes, C. Burges, "The MNIST database", file formats.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp(), "labels-idx1-ubyte")
      >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
      >>> read_idx(path)
      array([7, 2, 1], dtype=uint8)
    """
    with _reading(path, expected="an idx file"), open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        max_size = os.fstat(file.fileno()).st_size * (_MAX_DEFLATE_RATIO if zipped else 1)
        return _parse_idx(gzip.GzipFile(fileobj=file) if zipped else file, max_size)


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file; never unpickles, so nothing in the file is executed.

    Args:
      path: the file, as `numpy.savez` or `numpy.savez_compressed` writes it.

    Returns:
      The arrays by key.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no .npz file, is damaged, or holds pickled objects.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp(), "pair.npz")
      >>> np.savez(path, x=np.arange(3), y=np.ones(2))
      >>> read_npz(path)["x"]
      array([0, 1, 2])
    """
    expected = "an .npz file of plain arrays (no pickled objects)"
    with _reading(path, expected=expected), open(path, "rb") as file, open_npz(file) as arrays:
        return {key: _native(arrays[key]) for key in arrays.files}


def read_libsvm(path: str | os.PathLike[str], num_features: int | None = None) -> Batch:
    """Reads LIBSVM (svmlight) text, plain or compressed (.bz2, .gz, .xz), into a dense batch.

    Features count from 1, unless a feature 0 occurs: then they count from 0.

    Args:
      path: the file; how it is compressed is seen from its first bytes.
      num_features: d; by default the largest feature that occurs. Give it where files of one set
        end at different features: those that don't occur are 0.

    Returns:
      `{"features": (n, d) float32, "label": (n,)}`; labels are as in the file (±1 stays ±1),
      int32 if all are whole numbers, float32 otherwise.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, is no LIBSVM text, or has a feature beyond num_features.

    References:
      C.-C. Chang, C.-J. Lin, "LIBSVM: a library for support vector machines", 2011.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp(), "tiny")
      >>> _ = path.write_text("+1 1:0.5 3:2\\n-1 2:1\\n")
      >>> read_libsvm(path)["features"]
      array([[0.5, 0. , 2. ],
             [0. , 1. , 0. ]], dtype=float32)
    """
    if num_features is not None:
        check_count(num_features, "num_features")
    return read_libsvm_files([path], num_features)[0]


def read_libsvm_files(
    paths: Sequence[str | os.PathLike[str]], num_features: int | None = None
) -> list[Batch]:
    """Reads the files of one set: all get the features of the widest and one type of label."""
    from sklearn.datasets import load_svmlight_files

    expected = "LIBSVM text, 'label feature:value …'"
    files = []
    for path in paths:
        with _reading(path, expected=expected):
            files.append(io.BytesIO(_decompress(Path(path).read_bytes())))
    with _reading(*paths, expected=expected):
        loaded = load_svmlight_files(files, n_features=num_features)
        features, labels = loaded[::2], loaded[1::2]
        if not all(len(label) for label in labels):
            raise ValueError("no examples")
        size = sum(math.prod(matrix.shape) for matrix in features) * 4
        if size > _MAX_DENSE_BYTES:
            raise ValueError(f"it would take {size / 2**30:.0f} GiB as dense float32")
        whole = all(np.all((label == np.rint(label)) & (abs(label) < 2**31)) for label in labels)
        dtype = np.int32 if whole else np.float32
        return [
            {"features": matrix.astype(np.float32).toarray(), "label": label.astype(dtype)}
            for matrix, label in zip(features, labels, strict=True)
        ]


def decode_jpegs(path: str | os.PathLike[str], data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Decodes n JPEG images of one size, image i being the bytes data[offsets[i] : offsets[i + 1]].

    Args:
      path: the file that data comes from, for messages.
      data: all images' bytes, (total,) uint8.
      offsets: where each begins, and the end of the last, (n + 1,) integers.

    Returns:
      The images, (n, H, W, C) uint8.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError(
            f"{path}: decoding its JPEG images needs Pillow: pip install pillow"
        ) from error
    with _reading(path, expected="JPEG images of one size, with their offsets"):
        if data.dtype != np.uint8 or offsets.ndim != 1 or len(offsets) < 2:
            raise ValueError(f"bytes are {data.dtype} and offsets {offsets.shape}")
        if offsets[0] < 0 or offsets[-1] > len(data) or np.any(offsets[1:] < offsets[:-1]):
            raise ValueError(f"the offsets do not ascend within the {len(data)} bytes")
        images = None
        for i, (start, end) in enumerate(itertools.pairwise(offsets)):
            with Image.open(io.BytesIO(data[start:end].tobytes()), formats=["JPEG"]) as image:
                pixels = np.asarray(image)
            if images is None:
                images = np.empty((len(offsets) - 1, *pixels.shape), np.uint8)
            if pixels.shape != images.shape[1:]:
                raise ValueError(f"image {i} is {pixels.shape}, the first {images.shape[1:]}")
            images[i] = pixels
        assert images is not None
        return images if images.ndim == 4 else images[..., None]


@contextmanager
def _reading(*paths: str | os.PathLike[str], expected: str) -> Iterator[None]:
    """Turns whatever a reader raises into one line that names the file and what to do."""
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path}: no such file; expected {expected}: put it there, or give the folder that "
                "holds it (data_dir, or the environment variable JAXNOISE_DATA_DIR)"
            )
        if not os.path.isfile(path):
            raise ValueError(f"{path}: not a file; expected {expected}")
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes make a parser raise anything
        reason = one_line(error)
        where = ", ".join(map(str, paths))
        raise ValueError(f"{where}: {reason}; expected {expected}: get the file again") from error


def _parse_idx(stream: io.BufferedIOBase, max_size: int) -> np.ndarray:
    """Header: two zero bytes, the number type, the rank, and each dimension as four bytes."""
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\x00\x00" or head[2] not in _IDX_DTYPES:
        raise ValueError(f"wrong first bytes {head.hex(' ')!r}")
    dtype, rank = np.dtype(_IDX_DTYPES[head[2]]), head[3]
    header = stream.read(4 * rank)
    if rank > 32 or len(header) < 4 * rank:
        raise ValueError(f"the header of rank {rank} is cut off or wrong")
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    size = math.prod(shape) * dtype.itemsize
    if size > max_size:
        raise ValueError(
            f"it declares {size} bytes of shape {shown(shape)}, more than the file can hold"
        )
    array = np.empty(shape, dtype)
    body = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < size and (count := stream.readinto(body[done:])):
        done += count
    if done < size:
        raise ValueError(f"it ends after {done} of the {size} bytes declared by shape {shape}")
    if stream.read(1):
        raise ValueError(f"bytes follow the {size} declared by shape {shape}")
    return _native(array)


def _decompress(data: bytes) -> bytes:
    for magic, module in ((b"BZh", bz2), (b"\x1f\x8b", gzip), (b"\xfd7zXZ\x00", lzma)):
        if data.startswith(magic):
            return module.decompress(data)
    return data


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
