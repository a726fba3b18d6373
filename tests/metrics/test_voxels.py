"""Errors of voxels and scores of objects against counting in sets."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, f1_score

from jaxnoise.metrics import ObjectScores, VoxelErrors, object_scores, voxel_errors

pytestmark = pytest.mark.usefixtures("strict_promotion")

examples = settings(max_examples=60, deadline=None, derandomize=True)
masks = arrays(np.uint8, 20, elements=st.integers(0, 1))
objects = arrays(np.int32, 12, elements=st.integers(0, 4))


@examples
@given(masks, masks)
def test_errors_are_those_of_counting(prediction, target):
    errors = voxel_errors(prediction.reshape(2, 5, 2), 7 * target.reshape(2, 5, 2))
    (right_none, wrong), (missed, right) = confusion_matrix(target, prediction, labels=[0, 1])
    np.testing.assert_allclose(errors.accuracy, (right + right_none) / 20, rtol=1e-6)
    np.testing.assert_allclose(errors.type_1, wrong / 20, rtol=1e-6)
    np.testing.assert_allclose(errors.type_2, missed / 20, rtol=1e-6)
    np.testing.assert_allclose(errors.accuracy + errors.type_1 + errors.type_2, 1, rtol=1e-6)
    expected = f1_score(target, prediction, zero_division=np.nan)
    np.testing.assert_allclose(errors.dice, expected, rtol=1e-6)


def test_probabilities_are_cut_at_one_half():
    errors = voxel_errors(np.array([0.5, 0.51, 0.2, 0.9]), np.array([True, True, False, False]))
    found = [float(x) for x in (errors.accuracy, errors.type_1, errors.type_2, errors.dice)]
    assert found == [0.5, 0.25, 0.25, 0.5]


def test_errors_of_a_batch_and_their_file(tmp_path):
    target = np.arange(24).reshape(4, 6) % 2
    errors = jax.jit(jax.vmap(voxel_errors))(target, 1 - target)
    np.testing.assert_array_equal(errors.accuracy, [0, 0, 0, 0])
    errors.save(tmp_path / "errors.npz")
    np.testing.assert_array_equal(VoxelErrors.load(tmp_path / "errors.npz").dice, errors.dice)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((0,), (0,))])
def test_voxels_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="prediction and target must have one shape and voxels"):
        voxel_errors(*(np.zeros(shape) for shape in shapes))


# --- objects -----------------------------------------------------------------------------------


def slow_matching(prediction, target, iou):
    """Tries every set of pairs: most pairs first, then the largest sum of overlaps."""
    voxels = [
        {label: set(np.flatnonzero(labels == label)) for label in set(labels.tolist()) - {0}}
        for labels in (prediction, target)
    ]
    overlap = {
        (p, t): len(a & b) / len(a | b)
        for (p, a), (t, b) in itertools.product(*(part.items() for part in voxels))
    }
    candidates = [pair for pair in overlap if overlap[pair] >= iou]
    best = 0, 0.0
    for size in range(1, 1 + min(map(len, voxels))):
        for pairs in itertools.combinations(candidates, size):
            if all(len(set(labels)) == size for labels in zip(*pairs, strict=True)):
                best = max(best, (size, sum(overlap[pair] for pair in pairs)))
    return *best, *map(len, voxels)


@examples
@given(objects, objects, st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
def test_scores_are_those_of_the_best_matching(prediction, target, iou):
    scores = object_scores(prediction, target, iou)
    number, total, found, there = slow_matching(prediction, target, iou)
    assert len(scores.matches) == number
    np.testing.assert_allclose(scores.overlaps.sum(), total)
    assert all(scores.overlaps >= iou)
    for value, part, whole in (
        (scores.precision, number, found),
        (scores.recall, number, there),
        (scores.f1, 2 * number, found + there),
    ):
        np.testing.assert_allclose(value, part / whole if whole else np.nan)
    for (p, t), overlap in zip(scores.matches, scores.overlaps, strict=True):
        both, either = (prediction == p) & (target == t), (prediction == p) | (target == t)
        np.testing.assert_allclose(overlap, both.sum() / either.sum())


def test_two_poor_matches_are_more_than_a_good_one():
    scores = object_scores([1, 1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 2, 1], iou=0.1)
    assert sorted(map(tuple, scores.matches.tolist())) == [(1, 2), (2, 1)]


def test_names_of_objects_do_not_matter_and_scores_are_kept(tmp_path):
    labels = np.array([[1, 1, 0, 2], [1, 1, 0, 2]], np.uint8)
    scores = object_scores(labels, np.array([0, 30, 4], np.int64)[labels])
    assert (scores.precision, scores.recall, scores.f1) == (1, 1, 1)
    assert sorted(map(tuple, scores.matches.tolist())) == [(1, 30), (2, 4)]
    scores.save(tmp_path / "scores.npz")
    assert ObjectScores.load(tmp_path / "scores.npz").f1 == 1


@pytest.mark.parametrize(
    ("labels", "iou", "error", "message"),
    [
        (([0, 1], [0, 1, 1]), 0.5, ValueError, "must have one shape"),
        (([0.0, 1.0], [0, 1]), 0.5, TypeError, "prediction must hold labels of objects"),
        (([0, 1], [True, True]), 0.5, TypeError, "target must hold labels of objects"),
        (([0, 1], [0, -1]), 0.5, ValueError, "target has negative labels"),
        (([0, 1], [0, 1]), 0.0, ValueError, "iou must lie in"),
    ],
)
def test_objects_that_do_not_fit(labels, iou, error, message):
    with pytest.raises(error, match=message):
        object_scores(*labels, iou)
