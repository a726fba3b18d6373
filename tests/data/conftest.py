import gzip
import math
from pathlib import Path

import numpy as np
import pytest

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """An idx file, written out from the format's description."""
    code = IDX_CODES[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim])
    header += b"".join(length.to_bytes(4, "big") for length in array.shape)
    body = array.astype(array.dtype.newbyteorder(">")).tobytes()
    assert len(body) == math.prod(array.shape) * array.dtype.itemsize
    return header + body


@pytest.fixture(scope="session")
def as_idx():
    return idx_bytes


@pytest.fixture(scope="session")
def write_mnist():
    """Writes the four files of a small set in MNIST's format."""

    def write(folder: Path, images, labels, test_images, test_labels, test_name="t10k"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in {
            "train-images-idx3-ubyte": images,
            "train-labels-idx1-ubyte": labels,
            f"{test_name}-images-idx3-ubyte": test_images,
            f"{test_name}-labels-idx1-ubyte": test_labels,
        }.items():
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array), mtime=0))
        return folder

    return write


@pytest.fixture
def small_mnist():
    """Images and labels of a training part of 6 and a test part of 2."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (8, 5, 4), dtype=np.uint8)
    labels = np.array([2, 0, 1, 2, 1, 0, 2, 1], np.uint8)
    return images[:6], labels[:6], images[6:], labels[6:]


@pytest.fixture(autouse=True)
def _no_folder_of_the_users(request, monkeypatch, tmp_path_factory):
    """Nothing is found but what a test puts there; real data is for the tests that ask for it."""
    if "real_data_dir" not in request.fixturenames:
        monkeypatch.delenv("JAXNOISE_DATA_DIR", raising=False)
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.getbasetemp() / "no_such_folder"))
