"""Rendered nuclei: each part of the picture by itself, and all of it together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxnoise.data import nuclei
from jaxnoise.volumes import render
from jaxnoise.volumes._render import _blurred, _smooth_noise

SHAPE = (24, 32, 40)
NOTHING = np.zeros((3, 3, 3), np.int32)
CLEAN = {
    "texture": 0.0,
    "blur": (0.0, 0.0, 0.0),
    "background": 0.0,
    "attenuation": 1e9,
    "photons": 1e6,
    "noise": 0.0,
}


@pytest.fixture(scope="module")
def labels():
    """Two blocks, and a third of the label after the last brightness that is drawn."""
    labels = np.zeros(SHAPE, np.int32)
    labels[2:22, 4:16, 4:16], labels[2:22, 4:16, 24:36], labels[2:22, 20:30, 4:36] = 1, 2, 4097
    return labels


def shown(labels, seed=0, **look):
    return np.asarray(render(jax.random.key(seed), labels, **CLEAN | look)).astype(float)


def test_nuclei_are_as_bright_as_was_drawn(labels):
    image = shown(labels, brightness=(0.4, 0.8))
    first, second, third = [image[labels == label] for label in (1, 2, 4097)]
    for gray in (first, second, third):
        assert gray.std() < 1
        assert 0.4 * 255 - 1 <= gray.mean() <= 0.8 * 255 + 1
    assert abs(first.mean() - second.mean()) > 3
    assert abs(first.mean() - third.mean()) < 1
    assert not image[labels == 0].any()


def test_light_is_lost_on_its_way(labels):
    image = shown(labels, attenuation=20.0)
    gray = np.array(
        [plane[mask].mean() for plane, mask in zip(image[2:22], labels[2:22] == 1, strict=True)]
    )
    np.testing.assert_allclose(gray[1:] / gray[:-1], np.exp(-1 / 20), rtol=0.02)


def test_photons_and_the_camera_make_noise(labels):
    inside = labels > 0
    for photons in (400.0, 20.0):
        counted = shown(labels, photons=photons, brightness=(0.4, 0.4))[inside] / 255
        np.testing.assert_allclose(counted.mean(), 0.4, rtol=0.012)
        np.testing.assert_allclose(counted.var(), 0.4 / photons, rtol=0.1)
    camera = shown(labels, noise=0.05)[inside] / 255
    np.testing.assert_allclose(camera.std(), 0.05, rtol=0.06)


def test_grains_and_clouds(labels):
    grains = shown(labels, texture=0.1, brightness=(0.5, 0.5))
    inside = grains[labels > 0] / 127.5
    np.testing.assert_allclose(inside.std(), 0.1, rtol=0.15)
    clouds = shown(labels, background=0.2)[labels == 0] / 255
    np.testing.assert_allclose(clouds.mean(), 0.2, rtol=0.25)
    assert 0.02 < clouds.std() < 0.2


def test_blur_is_scipys_inside():
    volume = np.random.default_rng(0).random(SHAPE)
    found = _blurred(jnp.asarray(volume), (1.5, 0.0, 0.7))
    expected = ndimage.gaussian_filter(volume, (1.5, 0, 0.7), truncate=8, mode="nearest")
    inside = np.s_[7:-7, :, 4:-4]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    np.testing.assert_allclose(_blurred(jnp.ones(SHAPE), (2.0, 3.0, 1.0)), 1, rtol=1e-5)


def test_smooth_noise_is_smooth_and_of_variance_one():
    noise = np.asarray(_smooth_noise(jax.random.key(0), (40, 48, 56), 4.0))
    np.testing.assert_allclose(noise.std(), 1, rtol=1e-4)
    along = [np.mean(noise[d:] * noise[: len(noise) - d]) for d in (1, 12)]
    assert along[0] > 0.8
    assert abs(along[1]) < 0.15


def test_a_set_of_volumes():
    shape = (16, 24, 24)
    drawn = jax.tree.map(np.asarray, nuclei(jax.random.key(1), 2, shape, photons=60.0))
    assert drawn["image"].shape == (2, *shape, 1)
    assert drawn["image"].dtype == np.uint8
    assert drawn["label"].dtype == np.int32
    assert not np.array_equal(*drawn["label"])
    image = drawn["image"][..., 0].astype(float)
    inside, outside = image[drawn["label"] > 0], image[drawn["label"] == 0]
    assert inside.mean() > 2 * outside.mean()
    again = nuclei(jax.random.key(1), 2, shape, photons=60.0)
    jax.tree.map(np.testing.assert_array_equal, again, drawn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: render(key, jnp.zeros((3, 3), int)), r"labels must be a volume \(D, H, W\)"),
        (
            lambda key: render(key, jnp.zeros((3, 3, 3), int), photons=0.0),
            "photons must be positive",
        ),
        (
            lambda key: render(key, jnp.zeros((3, 3, 3), int), noise=-1.0),
            "noise must be at least 0",
        ),
        (lambda key: render(key, jnp.zeros((3, 3, 3), int), blur=(1, -1, 1)), "blur must be at"),
        (lambda key: nuclei(key, 0), "num must be at least 1"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
