"""Components against flooding voxel by voxel, and the colours of their labels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxnoise.volumes import color_labels, label_components, remove_small_components

examples = settings(max_examples=40, deadline=None, derandomize=True)
masks = arrays(np.uint8, (3, 4, 3), elements=st.sampled_from([0, 0, 1, 255]))


def slow_components(mask, connectivity):
    """Sets of voxels, flooded from one after another."""
    steps = [
        step
        for step in itertools.product((-1, 0, 1), repeat=mask.ndim)
        if 0 < sum(map(abs, step)) <= connectivity
    ]
    left, components = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        todo, component = [left.pop()], set()
        while todo:
            voxel = todo.pop()
            component.add(voxel)
            beside = {tuple(np.add(voxel, step)) for step in steps} & left
            left -= beside
            todo += beside
        components.append(component)
    return components


@examples
@given(masks, st.integers(1, 3))
def test_components_are_those_of_flooding(mask, connectivity):
    labels = label_components(mask, connectivity)
    assert labels.dtype == np.int32
    numbered = [
        set(zip(*np.nonzero(labels == label), strict=True)) for label in range(1, 1 + labels.max())
    ]
    expected = slow_components(mask, connectivity)
    assert sorted(map(sorted, numbered)) == sorted(map(sorted, expected))
    np.testing.assert_array_equal(labels == 0, mask == 0)


@examples
@given(masks, st.integers(1, 3), st.integers(0, 8))
def test_components_of_fewer_voxels_go(mask, connectivity, min_size):
    before = mask.copy()
    kept = remove_small_components(mask, min_size, connectivity)
    np.testing.assert_array_equal(mask, before)
    assert kept.dtype == mask.dtype
    expected = np.zeros_like(mask)
    for component in slow_components(mask, connectivity):
        if len(component) >= min_size:
            for voxel in component:
                expected[voxel] = mask[voxel]
    np.testing.assert_array_equal(kept, expected)


def test_probabilities_are_cut_at_one_half():
    assert label_components(np.array([0.5, 0.6, 0.1, 0.7])).tolist() == [0, 1, 0, 2]
    assert remove_small_components(np.array([0.6, 0.7, 0.1, 0.8]), 2).tolist() == [0.6, 0.7, 0.1, 0]


def test_connectivity_out_of_bounds():
    for connectivity in (0, 3):
        with pytest.raises(ValueError, match=r"connectivity must lie in 1…2 for shape \(2, 2\)"):
            label_components(np.ones((2, 2)), connectivity)


def test_labels_that_follow_each_other_have_colours_apart():
    colors = color_labels(np.arange(58).reshape(2, 29))
    assert colors.shape == (2, 29, 3)
    assert colors.dtype == np.uint8
    colors = colors.reshape(-1, 3).astype(int)
    np.testing.assert_array_equal(colors[0], [0, 0, 0])
    assert len(np.unique(colors, axis=0)) == 58
    assert colors[1:].sum(1).min() > 150
    for distance in (1, 2):
        apart = np.abs(colors[1 + distance :] - colors[1:-distance]).sum(1)
        assert apart.min() > 120
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        color_labels(np.zeros((2, 2)))
