import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxnoise.plotting import volume_projection, volume_slices
from jaxnoise.volumes import color_labels

VOLUME = np.random.default_rng(0).integers(0, 200, (6, 7, 9), dtype=np.uint8)


def picture(ax):
    (image,) = ax.images
    return np.asarray(image.get_array())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_side_by_side(axis):
    _, ax = plt.subplots()
    assert volume_slices(VOLUME, ax, slices=[4, 0], axis=axis, vmin=0, vmax=255) is ax
    shown = picture(ax)
    expected = [np.take(VOLUME, index, axis) / 255 for index in (4, 0)]
    width = expected[0].shape[1]
    assert shown.shape == (len(expected[0]), 2 * width + 2, 3)
    np.testing.assert_allclose(shown[:, :width, 0], expected[0], atol=0.003)
    np.testing.assert_allclose(shown[:, width + 2 :, 2], expected[1], atol=0.003)
    assert ax.get_title() == "slices 4, 0"


def test_slices_are_evenly_spaced():
    assert volume_slices(VOLUME, slices=3).get_title() == "slices 1, 3, 5"
    assert volume_slices(VOLUME, slices=1).get_title() == "slices 3"


def test_outlines_are_the_outermost_voxels():
    labels = np.zeros(VOLUME.shape, int)
    labels[:, 1:6, 1:5], labels[:, 1:6, 5:8] = 1, 2
    shown = picture(volume_slices(VOLUME, slices=[2], outlines=labels, color="red"))
    marked = (shown == [1, 0, 0]).all(-1)
    expected = labels[2] > 0
    expected[2:5, 2:4] = expected[2:5, 6:7] = False
    np.testing.assert_array_equal(marked, expected)


def test_projections_share_their_axes():
    shown = picture(volume_projection(VOLUME, vmin=0, vmax=255))[..., 1]
    assert shown.shape == (7 + 2 + 6, 9 + 2 + 6)
    np.testing.assert_allclose(shown[:7, :9], VOLUME.max(0) / 255, atol=0.003)
    np.testing.assert_allclose(shown[9:, :9], VOLUME.max(1) / 255, atol=0.003)
    np.testing.assert_allclose(shown[:7, 11:], VOLUME.max(2).T / 255, atol=0.003)
    mask = np.zeros(VOLUME.shape, bool)
    mask[1:4, 2:5, 3:7] = True
    outlined = picture(volume_projection(VOLUME, outlines=mask, color="blue"))
    marked = (outlined == [0, 0, 1]).all(-1)
    assert (marked[:7, :9].sum(), marked[9:, :9].sum(), marked[:7, 11:].sum()) == (10, 10, 8)


def test_colours_stay_as_they_are():
    labels = np.zeros(VOLUME.shape, int)
    labels[2:4, 1:5, 2:6], labels[1:6, 3:6, 4:8] = 1, 2
    colors = color_labels(labels)
    np.testing.assert_allclose(picture(volume_slices(colors, slices=[3])), colors[3] / 255)
    shown = picture(volume_projection(colors))
    front = np.zeros((7, 9), int)
    front[1:5, 2:6], front[3:6, 4:8] = 1, 2
    np.testing.assert_allclose(shown[:7, :9], color_labels(front) / 255)


@pytest.mark.parametrize(
    ("draw", "options", "message"),
    [
        (volume_slices, {"slices": [6]}, r"slices must lie in 0…5, got \[6\]"),
        (volume_slices, {"slices": 0}, "slices must lie in"),
        (volume_slices, {"outlines": np.zeros((6, 7, 8))}, "outlines must have the volume's shape"),
        (volume_projection, {"outlines": np.zeros((6, 7))}, "outlines must have the volume's"),
        (volume_projection, {"volume": np.zeros((6, 7))}, r"volume must be \(D, H, W\)"),
        (volume_slices, {"volume": np.zeros((6, 7, 8, 2))}, r"volume must be \(D, H, W\)"),
    ],
)
def test_volumes_that_cannot_be_drawn(draw, options, message):
    with pytest.raises(ValueError, match=message):
        draw(**{"volume": VOLUME} | options)
