"""Synthetic micrographs, retinas and wet panes: what they show, against slow twins and by eye."""

import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxnoise.data import (
    _cells,
    _drops,
    _fundus,
    _photographs,
    _texture,
    membranes,
    raindrops,
    sample_photographs,
    vessels,
)
from jaxnoise.data._vessel_tree import Segments

NUM, SIZE = 5, 96
EVERYWHERE = np.ones((3, 3))


@pytest.fixture(scope="module")
def scene():
    """Photographs that get brighter from top to bottom, (N, H, W, 3)."""
    levels = np.linspace(20, 235, 64).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None], (NUM, 64, 80, 3))


@pytest.fixture(scope="module")
def draw(scene):
    generators = {
        "membranes": lambda key: membranes(key, NUM, SIZE, scale=0.5),
        "vessels": lambda key: vessels(key, NUM, SIZE),
        "raindrops": lambda key: raindrops(key, scene),
    }
    return lambda name, seed=0: jax.tree.map(np.asarray, generators[name](jax.random.key(seed)))


@pytest.fixture(scope="module")
def drawn(draw):
    return {name: draw(name) for name in ("membranes", "vessels", "raindrops")}


# --- what holds for all ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("membranes", {"image": (NUM, SIZE, SIZE, 1), "label": (NUM, SIZE, SIZE)}),
        (
            "vessels",
            {
                "image": (NUM, SIZE, SIZE, 3),
                "label": (NUM, SIZE, SIZE),
                "mask": (NUM, SIZE, SIZE),
            },
        ),
        (
            "raindrops",
            {"image": (NUM, 64, 80, 3), "label": (NUM, 64, 80), "target": (NUM, 64, 80, 3)},
        ),
    ],
)
def test_shapes_and_types(drawn, name, shapes):
    assert {k: v.shape for k, v in drawn[name].items()} == shapes
    assert {v.dtype for v in drawn[name].values()} == {np.dtype("uint8")}
    assert all(set(np.unique(v)) == {0, 1} for k, v in drawn[name].items() if v.ndim == 3)


@pytest.mark.parametrize("name", ["membranes", "vessels", "raindrops"])
def test_the_key_alone_decides(draw, drawn, name):
    jax.tree.map(np.testing.assert_array_equal, draw(name), drawn[name])
    other = draw(name, seed=1)
    for part in ("image", "label"):
        assert not np.array_equal(other[part], drawn[name][part])
        assert len(np.unique(drawn[name][part].reshape(NUM, -1), axis=0)) == NUM


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: membranes(key, 0), "num must be at least 1"),
        (lambda key: membranes(key, 1, 8), "size must be at least 16"),
        (lambda key: membranes(key, 1, scale=0.0), "scale must lie in"),
        (lambda key: vessels(key, 0), "num must be at least 1"),
        (lambda key: vessels(key, 1, 16), "size must be at least 32"),
        (lambda key: sample_photographs(key, 0), "num must be at least 1"),
        (lambda key: sample_photographs(key, 1, 301), "size must be between 1 and 300"),
        (lambda key: raindrops(key, np.zeros((1, 32, 32), np.uint8)), "photographs must be"),
        (lambda key: raindrops(key, np.zeros((0, 32, 32, 3), np.uint8)), "photographs must be"),
        (lambda key: raindrops(key, np.zeros((1, 32, 32, 3))), "photographs must be uint8"),
        (lambda key: raindrops(key, np.zeros((1, 32, 32, 3), np.uint8), 0), "num_drops must be"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(jax.random.key(0))


# --- membranes ---------------------------------------------------------------------------------


def test_membranes_are_dark_and_as_many_as_in_the_challenge(drawn):
    image, label = drawn["membranes"]["image"][..., 0].astype(float), drawn["membranes"]["label"]
    assert 0.15 < np.mean(label == 0) < 0.3
    assert abs(image.mean() - 126) < 15
    assert abs(image.std() - 44) < 12
    for picture, cells in zip(image, label, strict=True):
        assert picture[cells == 0].mean() < picture[cells == 1].mean() - 25


def test_membranes_part_cells_of_very_different_size(drawn):
    for cells in drawn["membranes"]["label"]:
        areas = np.bincount(ndimage.label(cells)[0].ravel())[1:]
        assert len(areas) >= 12
        assert 4 * np.median(areas) < areas.max() < 0.75 * areas.sum()


def test_brightness_does_not_give_membranes_away(drawn):
    """Mitochondria and vesicles are as dark, so that no threshold finds the borders."""
    image, label = drawn["membranes"]["image"][..., 0].ravel(), drawn["membranes"]["label"].ravel()
    dark = image < np.quantile(image, np.mean(label == 0))
    assert 0.35 < np.mean(label[dark] == 0) < 0.85


def test_cells_belong_to_the_nearest_disc():
    cut = jax.jit(_cells.cut_section, static_argnums=(1, 2))
    discs, section = jax.tree.map(np.asarray, cut(jax.random.key(0), 64, 1.0))
    kept = np.isfinite(discs.radius)
    centre, radius = discs.centre[kept].astype(float), discs.radius[kept].astype(float)
    apart = np.linalg.norm(centre[:, None] - centre, axis=-1) - radius[:, None] - radius
    assert apart[~np.eye(len(radius), dtype=bool)].min() > 1.9

    place = section.place.astype(float)
    away = np.linalg.norm(place[..., None, :] - centre, axis=-1) - radius
    np.testing.assert_array_equal(np.flatnonzero(kept)[away.argmin(-1)], section.cell)
    # The border's distance, counted in pixels: to the nearest pixel of another cell, less half.
    step = np.pad(section.cell, 1, mode="edge")
    border = (step[1:-1, 1:-1] != step[2:, 1:-1]) | (step[1:-1, 1:-1] != step[1:-1, 2:])
    border |= (step[1:-1, 1:-1] != step[:-2, 1:-1]) | (step[1:-1, 1:-1] != step[1:-1, :-2])
    counted = ndimage.distance_transform_edt(~border) + 0.5
    near = counted < 5
    assert np.median(np.abs(section.depth - counted)[near]) < 0.5


# --- vessels -----------------------------------------------------------------------------------


def test_vessels_are_dark_and_as_many_as_in_drive(drawn):
    image, label, mask = (drawn["vessels"][k] for k in ("image", "label", "mask"))
    assert not label[mask == 0].any()
    assert image[ndimage.binary_erosion(mask == 0, iterations=3, border_value=1)].max() < 20
    assert 0.6 < mask.mean() < 0.78
    assert 0.09 < label[mask == 1].mean() < 0.25
    inside = image[mask == 1].astype(float)
    red, green, blue = inside.mean(0)
    assert red > 1.4 * green > 1.6 * blue
    for picture, tree, view in zip(image, label, mask, strict=True):
        green, weight = picture[..., 1] * view * 1.0, ndimage.gaussian_filter(view * 1.0, 4)
        contrast = green - ndimage.gaussian_filter(green, 4) / np.maximum(weight, 1e-3)
        assert contrast[tree == 1].mean() < -3
        assert contrast[(tree == 0) & (view == 1)].mean() > 0


def test_vessels_hang_together(drawn):
    for tree in drawn["vessels"]["label"]:
        parts = np.bincount(ndimage.label(tree, EVERYWHERE)[0].ravel())[1:]
        assert len(parts) <= 6
        assert parts.max() > 0.9 * parts.sum()


def test_the_optic_disc_is_bright_and_at_the_side(drawn):
    sides = []
    for picture in drawn["vessels"]["image"]:
        smooth = ndimage.gaussian_filter(picture[..., 1].astype(float), 2)
        row, column = np.unravel_index(smooth.argmax(), smooth.shape)
        assert 0.35 < row / SIZE < 0.65
        assert abs(column / SIZE - 0.5) > 0.25
        sides.append(column > SIZE / 2)
    assert len(set(sides)) == 2


def test_distances_from_segments():
    size, rng = 48, np.random.default_rng(0)
    start = rng.uniform(0.1, 0.9, (6, 2))
    end = start + rng.uniform(-0.02, 0.02, (6, 2))
    radius = rng.uniform(0.005, 0.02, (6, 2))
    radius[5] = 0  # a vessel that has ended
    kind = np.array([0, 1, 0, 1, 0, 1])
    parts = [jnp.asarray(part, jnp.float32) for part in (start, end, radius)]
    away = jax.jit(_fundus.distances, static_argnums=1)(Segments(*parts, jnp.asarray(kind)), size)

    expected = np.full((2, 2, size, size), np.inf)
    for a, b, (near, far), k in zip(start * size, end * size, radius * size, kind, strict=True):
        for row, column in np.ndindex(size, size):
            pixel = np.array([column + 0.5, row + 0.5])
            part = np.clip((pixel - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            off = np.linalg.norm(pixel - a - part * (b - a))
            wall = off - near - part * (far - near)
            if far > 0:
                old = expected[k, :, row, column]
                expected[k, :, row, column] = np.minimum(old, [wall, off])
    close = expected[:, 1] < 2.4
    assert close.sum() > 100
    for which in (0, 1):
        np.testing.assert_allclose(
            np.asarray(away)[:, which][close], expected[:, which][close], atol=1e-4
        )
    assert np.asarray(away)[:, 1][~close].min() > 2.3


# --- raindrops ---------------------------------------------------------------------------------


def test_what_is_not_behind_a_drop_stays(drawn, scene):
    image, label, target = (drawn["raindrops"][k] for k in ("image", "label", "target"))
    np.testing.assert_array_equal(target, scene)
    np.testing.assert_array_equal(image[label == 0], scene[label == 0])
    assert np.mean(image[label == 1] != scene[label == 1]) > 0.7
    assert 0.01 < label.mean() < 0.4


def test_drops_show_the_scene_upside_down(drawn, scene):
    """The scene gets brighter downwards, so what large drops show gets darker."""
    slopes = []
    for image, label in zip(drawn["raindrops"]["image"], drawn["raindrops"]["label"], strict=True):
        parts, num = ndimage.label(ndimage.binary_erosion(label))
        for part in range(1, num + 1):
            rows, columns = np.nonzero(parts == part)
            if len(rows) > 40:
                slopes.append(np.polyfit(rows, image[rows, columns, 0].astype(float), 1)[0])
    assert len(slopes) >= 5
    assert np.mean(slopes) < -2
    assert np.mean(np.array(slopes) < 0) > 0.6


def test_one_drop_has_its_radius():
    """Without company a drop is about a disc, squat or tall by up to a sixth."""
    for seed in range(8):
        water = jax.jit(_drops.wet_pane, static_argnums=(1, 2, 3))(jax.random.key(seed), 96, 96, 1)
        inside, radius = np.asarray(water.depth > 0), np.asarray(water.radius)
        edge = inside[0].any() | inside[-1].any() | inside[:, 0].any() | inside[:, -1].any()
        height, width = np.ptp(np.nonzero(inside), axis=1) + 1 if inside.any() else (1, 9)
        if not edge and height < 1.4 * width and radius[inside].mean() > 3:
            area = np.pi * radius[inside].mean() ** 2
            assert 0.6 * area < inside.sum() < 1.6 * area
            return
    pytest.fail("none of the drops lies inside the pane")


def test_photographs_need_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    _photographs._photographs.cache_clear()
    train, again, test = (
        sample_photographs(jax.random.key(0), 6, 40, test=part) for part in (False, False, True)
    )
    np.testing.assert_array_equal(train, again)
    assert train.shape == test.shape == (6, 40, 40, 3)
    assert train.dtype == np.uint8
    assert not (train == test).all((1, 2, 3)).any()
    assert len(np.unique(train.reshape(6, -1), axis=0)) == 6


# --- textures ----------------------------------------------------------------------------------


def test_smooth_noise_is_a_spline_of_variance_one():
    weights = _texture._spline(33, 6)
    np.testing.assert_allclose((weights**2).sum(1), 1, rtol=1e-5)
    straight = weights @ np.arange(6) / weights.sum(1)  # which a spline reproduces
    np.testing.assert_allclose(straight, np.linspace(0.5, 4.5, 33), rtol=1e-5)
    noise = np.asarray(_texture.smooth_noise(jax.random.key(0), 200, [4.0, 25.0]))
    assert noise.shape == (2, 200, 200)
    assert abs(noise[0].std() - 1) < 0.05
    steps = np.diff(noise, axis=1).std((1, 2))
    assert steps[0] > 4 * steps[1]


@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_blur(sigma):
    image = np.random.default_rng(0).normal(size=(9, 12)).astype(np.float32)
    expected = ndimage.gaussian_filter(image.astype(float), sigma, mode="nearest", radius=2)
    np.testing.assert_allclose(_texture.blur(jnp.asarray(image), sigma, 2), expected, atol=1e-5)
