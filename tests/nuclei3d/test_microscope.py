"""The microscope's volumes: gray levels, sizes, sources."""

import dataclasses

import numpy as np
import pytest

import jaxnoise as jn
from experiments.nuclei3d import _microscope
from experiments.nuclei3d._files import read_all, write_all
from experiments.nuclei3d._microscope import enlarged, microscope_of, semi_axes, shrunk, to_bytes


def test_gray_levels_are_stretched_between_percentiles():
    volume = np.random.default_rng(0).normal(2000, 300, (8, 9, 10)).astype(np.uint16)
    low, high = np.percentile(volume.astype(np.float64), [1, 99.8])
    expected = np.rint(np.clip((volume - low) / (high - low), 0, 1) * 255)
    found = to_bytes(volume)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 1
    np.testing.assert_array_equal(to_bytes(np.full((3, 3, 3), 7)), 0)


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 6)])
def test_shrunk_voxels_are_means_of_cubes(shape):
    volume = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    (small,) = shrunk([volume], 2)
    (mask,) = shrunk([volume > 127], 2)
    for place in np.ndindex(small.shape):
        corners = [
            tuple(np.minimum(2 * np.array(place) + offset, np.array(shape) - 1))
            for offset in np.ndindex(2, 2, 2)
        ]
        values = np.array([volume[corner] for corner in corners], float)
        assert abs(small[place] - values.mean()) <= 0.5
        assert mask[place] == ((values > 127).mean() >= 0.5)
    assert shrunk([volume], 1)[0] is volume


def test_enlarged_voxels_lie_on_lines_between_the_small_ones():
    small = np.arange(5.0)[:, None, None] * np.ones((1, 2, 3))
    found = enlarged(small, 2, (9, 4, 6))
    assert found.shape == (9, 4, 6)
    expected = np.clip((np.arange(9) + 0.5) / 2 - 0.5, 0, 4)
    np.testing.assert_allclose(found, expected[:, None, None] * np.ones((1, 4, 6)), atol=1e-6)
    assert enlarged(small, 1, small.shape) is small


def test_radii_in_voxels(volumes_plan):
    assert semi_axes(volumes_plan(radii=(5.0, 2.0, 0.1), voxel=(2.0, 0.5, 0.5))) == [10, 4, 1]
    assert semi_axes(volumes_plan(radii=(5.0, 6.0), shrink=2)) == [2, 3]


def test_volumes_of_a_data_set_are_cut_to_their_sizes(volumes_plan, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"train": [(4, 6, 5), (3, 7, 5)], "test": [(4, 4, 4)]}
    images = {}
    for part, sizes in shapes.items():
        images[part] = [rng.integers(0, 4000, size).astype(np.uint16) for size in sizes]
        arrays = {f"image_{i}": x for i, x in enumerate(images[part])}
        arrays |= {f"label_{i}": (x > 2000).astype(np.uint8) for i, x in enumerate(images[part])}
        (tmp_path / "cells").mkdir(exist_ok=True)
        np.savez(tmp_path / "cells" / f"cells_{part}.npz", **arrays)
    found = microscope_of(volumes_plan(data="cells"), tmp_path)
    for part in shapes:
        for image, truth, volume in zip(
            getattr(found, part), getattr(found, f"{part}_truth"), images[part], strict=True
        ):
            np.testing.assert_array_equal(image, to_bytes(volume))
            np.testing.assert_array_equal(truth, volume > 2000)


def test_slices_are_one_volume_without_truth(volumes_plan, tmp_path):
    volume = np.random.default_rng(0).integers(0, 256, (3, 8, 9)).astype(np.uint8)
    for name in ("labels", "microscopy"):
        jn.volumes.write_volume(tmp_path / "kidney" / name, volume)
    found = microscope_of(volumes_plan(data="kidney"), tmp_path)
    np.testing.assert_array_equal(found.train[0], to_bytes(volume))
    assert (len(found.test), found.test_truth, found.train_truth) == (1, [], [])


def test_own_volumes_are_learnt_from_and_segmented(volumes_plan, tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 99, (4, 5, n)).astype(np.uint16) for n in (6, 7)]
    labels = [(image > 50).astype(np.uint16) for image in images]
    write_all(tmp_path, "image", images)
    found = microscope_of(volumes_plan(data=f"{tmp_path}/"), None)
    assert len(found.train) == len(found.test) == 2
    assert found.test_truth == []
    write_all(tmp_path, "label", labels)
    found = microscope_of(volumes_plan(data=f"{tmp_path}/"), None)
    np.testing.assert_array_equal(found.test_truth[1], labels[1])
    assert found.train_truth == []
    single = microscope_of(volumes_plan(data=str(tmp_path / "image_001.tif")), None)
    np.testing.assert_array_equal(single.test[0], to_bytes(images[1]))
    write_all(tmp_path, "label", [np.zeros((4, 5, 8), np.uint8)] * 2)
    with pytest.raises(ValueError, match="differ in number or size"):
        microscope_of(volumes_plan(data=f"{tmp_path}/"), None)


def test_data_that_are_no_volumes_are_refused(volumes_plan):
    with pytest.raises(ValueError, match="needs volumes"):
        microscope_of(volumes_plan(data="digits"), None)


def test_drawn_volumes_come_with_their_truth(volumes_plan, monkeypatch):
    monkeypatch.setattr(_microscope, "_SIDE", 24)
    plan = dataclasses.replace(volumes_plan(), shape=(24, 24, 24), num_train=1, num_test=1)
    found = microscope_of(plan, None)
    for image, truth in (
        (found.train[0], found.train_truth[0]),
        (found.test[0], found.test_truth[0]),
    ):
        assert image.shape == truth.shape == (24, 24, 24)
        assert image[truth > 0].mean() > 1.3 * image[truth == 0].mean()
    assert not np.array_equal(found.train[0], found.test[0])


def test_files_are_read_in_order_and_missed_by_name(tmp_path):
    write_all(tmp_path, "image", [np.full((1, 2, 3), i, np.uint8) for i in range(12)])
    assert [x.max() for x in read_all(tmp_path, "image", "segment")] == list(range(12))
    assert read_all(tmp_path, "label") == []
    with pytest.raises(ValueError, match=r"label_….tif: run the step segment first"):
        read_all(tmp_path, "label", "segment")
