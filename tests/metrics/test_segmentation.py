"""Scores of segmentation against counting pixel by pixel."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from jaxnoise.metrics import SegmentationScores, segmentation_scores

pytestmark = pytest.mark.usefixtures("strict_promotion")

CLASSES = 4
PIXELS = 12
maps = st.lists(st.integers(0, CLASSES - 1), min_size=PIXELS, max_size=PIXELS)
masks = st.lists(st.booleans(), min_size=PIXELS, max_size=PIXELS).filter(any)


def slow_scores(prediction, label, mask):
    """(per pixel, per class, class IOU, confusion), in sets of pixels."""
    pixels = [i for i in range(len(label)) if mask[i]]
    labelled = [{i for i in pixels if label[i] == c} for c in range(CLASSES)]
    predicted = [{i for i in pixels if prediction[i] == c} for c in range(CLASSES)]
    right = [len(a & b) for a, b in zip(labelled, predicted, strict=True)]
    per_class = [n / len(a) for n, a in zip(right, labelled, strict=True) if a]
    both = [a | b for a, b in zip(labelled, predicted, strict=True)]
    iou = [n / len(ab) for n, ab in zip(right, both, strict=True) if ab]
    confusion = [[len(a & b) for b in predicted] for a in labelled]
    return sum(right) / len(pixels), np.mean(per_class), np.mean(iou), confusion


def assert_scores(scores, expected):
    for name, value in zip(("per_pixel", "per_class", "class_iou"), expected, strict=False):
        np.testing.assert_allclose(getattr(scores, name), value, rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(scores.confusion, expected[3])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(maps, maps, masks)
def test_scores_are_those_of_counting(prediction, label, mask):
    scores = segmentation_scores(prediction, label, CLASSES, mask)
    assert_scores(scores, slow_scores(prediction, label, mask))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(maps, maps, st.permutations(range(PIXELS)), st.permutations(range(CLASSES)))
def test_neither_order_of_pixels_nor_names_of_classes_matter(prediction, label, pixels, names):
    scores = segmentation_scores(prediction, label, CLASSES)
    moved = ([names[classes[i]] for i in pixels] for classes in (prediction, label))
    again = segmentation_scores(*moved, CLASSES)
    for name in ("per_pixel", "per_class", "class_iou"):
        np.testing.assert_allclose(getattr(again, name), getattr(scores, name), rtol=1e-6)


def test_scikit_learn_agrees():
    rng = np.random.default_rng(0)
    label, prediction = rng.integers(0, CLASSES, (2, 3, 4, 5))
    scores = segmentation_scores(prediction, label, CLASSES)
    flat = label.ravel(), prediction.ravel()
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(*flat))
    np.testing.assert_allclose(scores.per_class, recall_score(*flat, average="macro"), rtol=1e-6)
    np.testing.assert_allclose(scores.class_iou, jaccard_score(*flat, average="macro"), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_a_right_prediction_scores_one_whatever_classes_are_absent(dtype):
    label = np.array([[0, 2], [2, 2]], dtype)
    scores = segmentation_scores(label, label, 5)
    assert (scores.per_pixel, scores.per_class, scores.class_iou) == (1, 1, 1)


def test_a_class_predicted_where_there_is_none_counts_in_iou_alone():
    scores = segmentation_scores([0, 1], [0, 0], 3)
    assert (scores.per_pixel, scores.per_class, scores.class_iou) == (0.5, 0.5, 0.25)


def test_masked_pixels_may_hold_anything():
    label, prediction, mask = [0, 1, 255], [0, 1, -1], [1, 1, 0]
    assert segmentation_scores(prediction, label, 2, mask).class_iou == 1


def test_under_jit_pixels_out_of_range_are_left_out():
    scores = jax.jit(segmentation_scores, static_argnums=2)([0, 1, 7], [0, 1, 1], 2)
    assert (scores.per_pixel, scores.confusion.sum()) == (1, 2)


def test_without_pixels_there_is_no_score():
    assert np.isnan(segmentation_scores([0], [0], 2, [0]).per_pixel)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0], [0, 1], 2), ValueError, r"one shape, got \(1,\), \(2,\)"),
        (([0], [0], 2, [1, 1]), ValueError, "mask must have one shape"),
        (([0.5], [0], 2), TypeError, "prediction must hold classes"),
        (([0], [2], 2), ValueError, "label has classes outside 0…1"),
        (([-1], [0], 2), ValueError, "prediction has classes outside 0…1"),
        (([0], [0], 0), ValueError, "num_classes must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    arguments = [np.array(a) if isinstance(a, list) else a for a in arguments]
    with pytest.raises(error, match=message):
        segmentation_scores(*arguments)


def test_scores_come_back_from_a_file(tmp_path):
    scores = segmentation_scores([0, 1, 1], [0, 1, 0], 2)
    scores.save(tmp_path / "scores.npz")
    jax.tree.map(
        np.testing.assert_array_equal, SegmentationScores.load(tmp_path / "scores.npz"), scores
    )
