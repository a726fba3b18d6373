"""Patches against slow loops, their assembly, and the symmetries of the square."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.data import assemble, eightfold, patches, random_symmetry


def slow_corners(shape, size, overlap):
    """Steps along each axis until the border is reached; the last patch is moved back to it."""
    starts = []
    for length in shape:
        places = [0]
        while places[-1] + size < length:
            places.append(min(places[-1] + size - overlap, length - size))
        starts.append(places)
    return list(itertools.product(*starts))


def slow_assembly(cut, shape, overlap):
    """Each pixel's mean over the patches that show it, patch by patch in double precision."""
    size = cut.shape[1]
    corners = slow_corners(shape, size, overlap)
    images = []
    for first in range(0, len(cut), len(corners)):
        seen = [[[] for _ in range(shape[1])] for _ in range(shape[0])]
        for patch, (row, column) in zip(cut[first:], corners, strict=False):
            for i, j in itertools.product(range(size), repeat=2):
                seen[row + i][column + j].append(np.asarray(patch[i, j], float))
        images.append([[np.mean(values, axis=0) for values in line] for line in seen])
    return np.array(images)


cuts = st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(0, 8), st.integers(0, 8)).filter(
    lambda cut: cut[1] < cut[0]
)


@settings(deadline=None, max_examples=60)
@given(cuts, st.sampled_from(["uint8", "int32", "float32", "float64", "bool"]), st.booleans())
def test_patches_and_their_assembly(cut, dtype, channels):
    size, overlap, *more = cut
    shape = (size + more[0], size + more[1])
    rng = np.random.default_rng(sum(cut))
    stack = (100 * rng.normal(size=(2, *shape, *[3] * channels))).astype(dtype)
    got = patches(stack, size, overlap)
    expected = [
        image[row : row + size, column : column + size]
        for image in stack
        for row, column in slow_corners(shape, size, overlap)
    ]
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == stack.dtype
    whole = assemble(got, shape, overlap)
    np.testing.assert_array_equal(whole, stack)
    assert whole.dtype == stack.dtype


@settings(deadline=None, max_examples=30)
@given(cuts)
def test_predictions_that_disagree_are_averaged(cut):
    size, overlap, *more = cut
    shape = (size + more[0], size + more[1])
    num = 2 * len(slow_corners(shape, size, overlap))
    predictions = np.random.default_rng(sum(cut)).normal(size=(num, size, size, 2))
    expected = slow_assembly(predictions, shape, overlap)
    np.testing.assert_allclose(assemble(predictions, shape, overlap), expected, atol=1e-13)
    whole = np.rint(100 * predictions).astype(int)
    rounding = assemble(whole, shape, overlap) - slow_assembly(whole, shape, overlap)
    assert np.abs(rounding).max() < 0.501


def test_a_batch_is_cut_alike():
    image = np.arange(2 * 8 * 8).reshape(2, 8, 8, 1)
    cut = patches({"image": image, "label": image[..., 0]}, 4, 2)
    np.testing.assert_array_equal(cut["image"][..., 0], cut["label"])
    assert cut["label"].shape == (18, 4, 4)
    assert assemble(cut, (8, 8), 2)["image"].shape == image.shape


def test_the_patches_of_the_isbi_challenge():
    assert patches(np.zeros((1, 512, 512), np.uint8)).shape == (9, 256, 256)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patches(np.zeros((2, 8, 8)), 4, 4), "overlap must be at least 0 and less than"),
        (lambda: patches(np.zeros((2, 8, 8)), 9, 2), "size must be at most"),
        (lambda: patches(np.zeros((8, 8)), 4, 2), "stack must be"),
        (lambda: patches({"a": np.zeros((2, 8, 8)), "b": np.zeros((2, 8, 7))}, 4), "stack must be"),
        (lambda: patches({}, 4, 2), "stack must be"),
        (lambda: assemble(np.zeros((8, 4, 4)), (8, 8), 2), "patches must be 9 per image"),
        (lambda: assemble(np.zeros((9, 4, 5)), (8, 8), 2), "patches must be square"),
        (lambda: assemble(np.zeros((9, 4, 4)), (1, 8, 8), 2), "shape must be the"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- symmetries --------------------------------------------------------------------------------


def test_eightfold_is_the_group_of_the_square():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    out = np.asarray(eightfold(images)).reshape(2, 8, 5, 5, 3)
    for image, versions in zip(images, out, strict=True):
        np.testing.assert_array_equal(versions[0], image)
        orbit = {version.tobytes() for version in versions}
        assert len(orbit) == 8
        moves = [np.rot90, np.flipud, np.fliplr, lambda v: v.transpose(1, 0, 2)]
        assert {move(version).tobytes() for move in moves for version in versions} == orbit
    assert out.dtype == np.uint8


def test_eightfold_of_a_batch():
    image = np.arange(2 * 3 * 3).reshape(2, 3, 3, 1)
    out = eightfold({"image": image, "map": image[..., 0], "label": np.array([4, 7])})
    np.testing.assert_array_equal(out["image"][..., 0], out["map"])
    np.testing.assert_array_equal(out["label"], [4] * 8 + [7] * 8)
    with pytest.raises(ValueError, match="square"):
        eightfold(np.zeros((2, 3, 4, 1)))


def test_random_symmetries_are_equally_likely():
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    versions = np.asarray(eightfold(image))
    drawn = random_symmetry(jax.random.key(0), np.repeat(image, 400, axis=0))
    counts = (np.asarray(drawn)[:, None] == versions).all((2, 3, 4)).sum(0)
    assert counts.sum() == 400
    assert counts.min() >= 30
