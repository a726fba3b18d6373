"""Segmentation of volumes and the baselines."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy import ndimage

from experiments.nuclei3d._baselines import chan_vese, otsu
from experiments.nuclei3d._segment import nuclei_in, probability
from experiments.nuclei3d._weights import load_weights, save_weights


@pytest.mark.parametrize("shrink", [1, 2])
def test_probabilities_are_those_of_the_network_at_every_voxel(shrink):
    """The network is the gray level itself, and gray levels change little between voxels."""
    ramp = np.indices((20, 26, 18)).sum(0).astype(np.uint8)
    found = probability(Partial(lambda windows: windows / 255), ramp, 16, shrink)
    assert found.shape == ramp.shape
    inside = (slice(1, -1),) * 3
    assert np.abs(found.astype(int) - ramp)[inside].max() <= 1


def test_nuclei_are_components_above_one_half(balls):
    labels = balls((20, 30, 30), [(10, 8, 8), (10, 20, 20)], radius=4)
    found = np.where(labels > 0, 200, 120).astype(np.uint8)
    found[0, 0, :9] = 255
    numbered = nuclei_in(found, min_size=10)
    assert numbered.max() == 2
    np.testing.assert_array_equal(numbered > 0, labels > 0)
    assert nuclei_in(found, min_size=1).max() == 3


def test_otsu_is_the_threshold_of_largest_variance_between(balls):
    rng = np.random.default_rng(0)
    labels = balls((16, 24, 24), [(8, 8, 8), (8, 17, 16)], radius=4)
    volume = np.clip(60 + 100 * (labels > 0) + rng.normal(0, 10, labels.shape), 0, 255)
    volume = volume.astype(np.uint8)
    blurred = ndimage.gaussian_filter(volume.astype(float), 1.0, mode="nearest", truncate=4)

    def between(threshold):
        above = blurred > threshold
        share = above.mean()
        return share * (1 - share) * (blurred[above].mean() - blurred[~above].mean()) ** 2

    thresholds = np.linspace(blurred.min(), blurred.max(), 200)[1:-1]
    best = max(between(t) for t in thresholds)
    found = otsu(volume)
    share = found.mean()
    assert share * (1 - share) * (
        blurred[found].mean() - blurred[~found].mean()
    ) ** 2 == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("method", [otsu, chan_vese])
def test_baselines_find_bright_balls(balls, method):
    labels = balls((16, 24, 24), [(8, 8, 8), (8, 17, 16)], radius=4)
    found = method((40 + 150 * (labels > 0)).astype(np.uint8))
    assert found.dtype == bool
    assert (found == (labels > 0)).mean() > 0.97
    assert not method(np.zeros((8, 8, 8), np.uint8)).any()


def test_weights_are_read_back_into_the_same_network_only(tmp_path):
    tree = {"params": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "state": [jnp.ones(2)]}
    save_weights(tmp_path / "seed0.npz", tree)
    found = load_weights(tmp_path / "seed0.npz", tree)
    np.testing.assert_array_equal(found["params"]["kernel"], tree["params"]["kernel"])
    np.testing.assert_array_equal(found["state"][0], 1)
    with pytest.raises(ValueError, match="another network"):
        load_weights(tmp_path / "seed0.npz", {"params": tree["params"]})
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / "seed1.npz", tree)
