"""Synthetic facades: what the labels show, and that photographs tell of them."""

import colorsys

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxnoise.data import FACADE_CLASSES, _facade_photo, facades
from jaxnoise.data._facade_plan import classes_of, draw_house, grid_of

SIZE, NUM = 32, 40
SKY, ROOF, WALL, WINDOW, BALCONY, DOOR, GROUND, TREE = range(8)


@pytest.fixture(scope="module")
def houses():
    return jax.tree.map(np.asarray, facades(jax.random.key(0), NUM, SIZE))


def test_shapes_and_types(houses):
    assert {k: (v.shape, v.dtype) for k, v in houses.items()} == {
        "label": ((NUM, SIZE, SIZE), np.int32),
        "image": ((NUM, SIZE, SIZE, 3), np.uint8),
    }


def test_the_key_alone_decides(houses):
    again, other = (facades(jax.random.key(seed), NUM, SIZE) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, again, houses)
    assert not np.array_equal(other["label"], houses["label"])
    assert len(np.unique(houses["label"].reshape(NUM, -1), axis=0)) == NUM


def test_all_classes_are_there(houses):
    share = np.bincount(houses["label"].ravel(), minlength=8) / houses["label"].size
    assert len(share) == len(FACADE_CLASSES) == 8
    assert np.all(share > 0.005)
    present = [set(np.unique(label)) for label in houses["label"]]
    assert all({SKY, ROOF, WALL, WINDOW, GROUND} <= classes for classes in present)
    for sometimes in (BALCONY, TREE):
        assert 0.1 < np.mean([sometimes in classes for classes in present]) < 0.9


def test_what_stands_where(houses):
    label = houses["label"]
    assert set(np.unique(label[:, 0])) <= {SKY, ROOF}
    assert set(np.unique(label[:, -1])) <= {GROUND, TREE}
    height = {c: np.nonzero(label == c)[1].mean() for c in range(8)}
    assert height[ROOF] < height[WINDOW] < height[DOOR] < height[GROUND]
    middle = label[:, :, SIZE // 2]
    for column in middle:  # from top to bottom
        kinds = [c for c in column if c in (SKY, ROOF, GROUND)]
        assert kinds == sorted(kinds)


def test_windows_stand_in_a_grid():
    @jax.jit
    def drawn(key):
        house = draw_house(key)
        grid = grid_of(house, 256)
        return house, grid, classes_of(house, grid)

    house, grid, classes = drawn(jax.random.key(3))
    window = np.asarray(classes) == WINDOW
    for way, axis, number in ((grid.column, 0, house.columns), (grid.floor, 1, house.floors)):
        cells = np.unique(np.asarray(way).ravel()[window.any(axis)])
        np.testing.assert_array_equal(cells, np.arange(number))


def test_one_label_map_has_many_photographs():
    @jax.jit
    def photographed(key):
        house = draw_house(jax.random.key(0))
        grid = grid_of(house, 2 * SIZE)
        photo = _facade_photo.photograph(key, house, grid, classes_of(house, grid))
        return classes_of(house, grid_of(house, SIZE)), photo

    shots = [photographed(jax.random.key(seed)) for seed in range(3)]
    label = np.asarray(shots[0][0])
    for part in (WALL, ROOF, SKY):
        colours = [np.asarray(photo, float)[label == part].mean(0) for _, photo in shots]
        for a, b in ((0, 1), (1, 2), (2, 0)):
            assert np.abs(colours[a] - colours[b]).max() > 8


def test_labels_can_be_learnt_from_photographs(houses):
    """Already from a pixel's colour and place, by a linear classifier."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    place = np.stack([y, x, y**2, x**2], -1)
    features = np.concatenate(
        [houses["image"] / 255, np.broadcast_to(place, (NUM, SIZE, SIZE, 4))], -1
    )
    half = NUM // 2
    train, test = features[:half].reshape(-1, 7)[::7], features[half:].reshape(-1, 7)
    labels = houses["label"][:half].ravel()[::7], houses["label"][half:].ravel()
    accuracy = LogisticRegression(max_iter=300).fit(train, labels[0]).score(test, labels[1])
    assert accuracy > np.bincount(labels[1]).max() / labels[1].size + 0.25


@pytest.mark.parametrize("colour", [(0.0, 0.5, 0.8), (0.58, 0.3, 1.0), (0.95, 1.0, 0.2)])
def test_colours(colour):
    np.testing.assert_allclose(_facade_photo._hsv(*colour), colorsys.hsv_to_rgb(*colour), rtol=1e-5)


@pytest.mark.parametrize(("options", "name"), [({"num": 0}, "num"), ({"size": 8}, "size")])
def test_too_few_or_too_small(options, name):
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        facades(jax.random.key(0), **{"num": 1, **options})
