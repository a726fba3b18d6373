"""The real sets, where JAXNOISE_DATA_DIR names a folder that holds them."""

import numpy as np
import pytest

from jaxnoise.data import load


def _load(name, folder):
    try:
        return load(name, data_dir=folder)
    except (ValueError, FileNotFoundError) as error:
        pytest.skip(f"no {name} in JAXNOISE_DATA_DIR: {error}")


def test_mnist(real_data_dir):
    mnist = _load("mnist", real_data_dir)
    assert mnist.train["image"].shape == (60000, 28, 28, 1)
    assert mnist.test["image"].shape == (10000, 28, 28, 1)
    assert mnist.train["image"].dtype == np.uint8
    np.testing.assert_array_equal(
        np.bincount(mnist.train["label"]),
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    )
    np.testing.assert_array_equal(
        np.bincount(mnist.test["label"]), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    )
    assert mnist.info.num_classes == 10
    assert 33 < mnist.train["image"].mean() < 34  # 0.1307 · 255


def test_a9a(real_data_dir):
    a9a = _load("a9a", real_data_dir)
    assert a9a.train["features"].shape == (32561, 123)
    assert a9a.test["features"].shape == (16281, 123)
    assert np.unique(a9a.train["features"]).tolist() == [0, 1]
    assert np.unique(a9a.train["label"]).tolist() == [-1, 1]
    assert (a9a.train["label"] == 1).sum() == 7841
    assert a9a.info.num_classes == 2


def test_cifar10_jpeg(real_data_dir):
    cifar = _load("cifar10_jpeg", real_data_dir)
    assert cifar.train["image"].shape == (50000, 32, 32, 3)
    assert cifar.test["image"].shape == (10000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(cifar.train["label"]), [5000] * 10)
    np.testing.assert_array_equal(np.bincount(cifar.test["label"]), [1000] * 10)
    assert "JPEG-recompressed CIFAR-10" in cifar.info.description
    assert "sorted by class" in cifar.info.description
    # CIFAR-10's channel means, 125.3, 123.0, 113.9, survive the compression.
    means = cifar.train["image"].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(means, [125.3, 123.0, 113.9], atol=1)


def test_bbbc050(real_data_dir):
    embryos = _load("bbbc050", real_data_dir)
    assert embryos.train["image"].shape == (33, 51, 139, 140, 1)
    assert embryos.train["label"].shape == embryos.train["image"].shape[:4]
    assert embryos.test["image"].shape == (12, 51, 120, 118, 1)
    assert embryos.train["image"].dtype == np.uint16
    np.testing.assert_array_equal(embryos.test["shape"][3], [51, 116, 113])
    depth, height, width = embryos.test["shape"][3]
    outside = embryos.test["image"][3].copy()
    outside[:depth, :height, :width] = 0
    assert not outside.any()
    assert embryos.test["label"][3].any()
    assert "padded with zeros" in embryos.info.description


def test_kidney_wsm(real_data_dir):
    kidney = _load("kidney_wsm", real_data_dir)
    assert kidney.test is None
    assert kidney.train["labels"].shape == kidney.train["microscopy"].shape == (128, 128, 128)
    assert np.unique(kidney.train["labels"]).tolist() == [0, 255]
    for volume in kidney.train.values():  # in order neighbouring slices are alike
        slices = volume.reshape(128, -1).astype(float)
        for distance, bounds in ((1, (0.7, 1.0)), (20, (-0.1, 0.4))):
            pairs = [np.corrcoef(slices[i], slices[i + distance])[0, 1] for i in range(0, 100, 20)]
            assert bounds[0] < np.mean(pairs) < bounds[1]
