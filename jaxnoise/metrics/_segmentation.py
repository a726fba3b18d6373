"""Scores of semantic segmentation: accuracies and intersection over union."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from .._checks import check_count, check_numbers
from .._results import Result
from .._tree import is_concrete


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SegmentationScores(Result):
    """How well predicted classes agree with labels; NaN where no pixel counts.

    Attributes:
      per_pixel: share of pixels of the right class.
      per_class: that share among the pixels of one class, averaged over the classes in the labels.
      class_iou: intersection over union of a class's pixels in labels and prediction, averaged
        over the classes in either of them.
      confusion: (K, K) numbers of pixels, n[i, j] of class i predicted as j.
    """

    per_pixel: Float[Array, ""]
    per_class: Float[Array, ""]
    class_iou: Float[Array, ""]
    confusion: Int[Array, "K K"]


def segmentation_scores(
    prediction: ArrayLike, label: ArrayLike, num_classes: int, mask: ArrayLike | None = None
) -> SegmentationScores:
    """Per-pixel accuracy, per-class accuracy and class IOU.

    With n_ij pixels of class i predicted as class j, and t_i = Σ_j n_ij of class i,

        per pixel   Σ_i n_ii / Σ_i t_i
        per class   mean over i of n_ii / t_i
        class IOU   mean over i of n_ii / (t_i + Σ_j n_ji − n_ii)

    All pixels of all images count together. Works under `jax.jit` with `num_classes` static; there,
    pixels with a class outside 0…K−1 are left out instead of refused.

    Args:
      prediction: integers 0…K−1 of any shape.
      label: integers 0…K−1 of the same shape.
      num_classes: K.
      mask: which pixels count, of the same shape, zero or false for those that don't; None for all.

    Returns:
      `SegmentationScores`. Up to 2³¹ pixels are counted exactly.

    Raises:
      TypeError: if prediction or label are not integers.
      ValueError: if shapes differ, num_classes is below 1 or, among the pixels that count, there is
        a class outside 0…K−1.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> label, prediction = jnp.array([[0, 0], [1, 1]]), jnp.array([[0, 0], [1, 0]])
      >>> scores = jn.metrics.segmentation_scores(prediction, label, num_classes=2)
      >>> float(scores.per_pixel), float(scores.per_class), scores.confusion.tolist()
      (0.75, 0.75, [[2, 0], [1, 1]])

    References:
      Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015,
      section 5
    """
    check_numbers(prediction, "prediction")
    check_numbers(label, "label")
    prediction, label = jnp.asarray(prediction), jnp.asarray(label)
    counts = jnp.ones(label.shape, bool) if mask is None else jnp.asarray(mask, bool)
    _check(prediction, label, counts, num_classes)
    for classes in (prediction, label):
        counts &= (classes >= 0) & (classes < num_classes)
    pair = label.astype(jnp.int32) * num_classes + prediction.astype(jnp.int32)
    nowhere = num_classes**2
    pair = jnp.where(counts, pair, nowhere).ravel()
    confusion = jnp.bincount(pair, length=nowhere + 1)[:-1].reshape(num_classes, num_classes)
    right, labelled, predicted = jnp.diag(confusion), confusion.sum(1), confusion.sum(0)
    union = labelled + predicted - right
    return SegmentationScores(
        per_pixel=right.sum() / labelled.sum(),
        per_class=jnp.mean(right / labelled, where=labelled > 0),
        class_iou=jnp.mean(right / union, where=union > 0),
        confusion=confusion,
    )


def _check(prediction: Array, label: Array, counts: Array, num_classes: int) -> None:
    check_count(num_classes, "num_classes")
    for name, classes in (("prediction", prediction), ("label", label)):
        if not jnp.issubdtype(classes.dtype, jnp.integer):
            raise TypeError(f"{name} must hold classes, integers, got {classes.dtype}")
    shapes = prediction.shape, label.shape, counts.shape
    if len(set(shapes)) > 1:
        raise ValueError(
            "prediction, label and mask must have one shape, got "
            + ", ".join(str(shape) for shape in shapes)
        )
    if is_concrete(prediction, label, counts):
        for name, classes in (("prediction", prediction), ("label", label)):
            if jnp.any(counts & ((classes < 0) | (classes >= num_classes))):
                raise ValueError(
                    f"{name} has classes outside 0…{num_classes - 1}: leave such pixels out with "
                    "mask, or raise num_classes"
                )
