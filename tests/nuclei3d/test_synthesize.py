"""Drawn nuclei, and what no microscope has seen of them."""

import dataclasses

import numpy as np

import jaxnoise as jn
from experiments.nuclei3d._synthesize import rendered, synthetic_labels


def test_slices_far_apart_are_a_choice_of_those_close_by(volumes_plan):
    plan = dataclasses.replace(volumes_plan(), shape=(8, 24, 24), num_nuclei=3)
    apart = dataclasses.replace(plan, voxel=(2.0, 1.0, 1.0))
    close = dataclasses.replace(plan, shape=(16, 24, 24))
    found = synthetic_labels(apart, 0)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, synthetic_labels(close, 0)[::2])
    assert not np.array_equal(found, synthetic_labels(apart, 1))


def test_every_volume_has_a_look_of_its_own(balls):
    labels = balls((16, 24, 24), [(8, 7, 7), (8, 16, 16)], radius=4)
    images = [rendered(labels, index) for index in range(3)]
    for image in images:
        assert image[labels > 0].mean() > image[labels == 0].mean() + 20
    assert len({image.tobytes() for image in images}) == 3
    np.testing.assert_array_equal(images[0], rendered(labels, 0))
    assert images[0].dtype == np.uint8
    assert jn.volumes.label_components(labels).max() == 2
