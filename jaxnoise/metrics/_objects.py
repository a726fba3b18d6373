"""Precision, recall and F1 of objects, matched by their overlap."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from .._checks import check_numbers
from .._results import Result


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ObjectScores(Result):
    """How many objects a segmentation finds; NaN where there are none to count.

    Attributes:
      precision: share of the predicted objects that are matched.
      recall: share of the target's objects that are matched.
      f1: harmonic mean of both, 2·matches/(objects predicted + objects in the target).
      matches: (M, 2) labels of the objects that belong together, of the prediction and the target.
      overlaps: (M,) intersection over union of each such pair.
    """

    precision: Float[np.ndarray, ""]
    recall: Float[np.ndarray, ""]
    f1: Float[np.ndarray, ""]
    matches: Int[np.ndarray, "M 2"]
    overlaps: Float[np.ndarray, " M"]


def object_scores(prediction: ArrayLike, target: ArrayLike, iou: float = 0.5) -> ObjectScores:
    """Precision, recall and F1 of objects, a predicted one being right if it matches one there is.

    Objects P_i and T_j may match where |P_i ∩ T_j| / |P_i ∪ T_j| is at least `iou`. No object
    matches twice; among such matchings it is one of most pairs, and of the largest sum of overlaps
    among these. Above one half no object has two candidates, so nothing has to be chosen.

    This is NumPy on the host: it can't be traced by JAX.

    Args:
      prediction: labels of objects, integers of any shape, 0 outside; `volumes.label_components`
        makes them of a mask.
      target: likewise, of the same shape.
      iou: overlap that makes a match, in (0, 1].

    Returns:
      `ObjectScores`.

    Raises:
      TypeError: if labels are not integers.
      ValueError: if shapes differ, labels are negative or iou is out of bounds.

    References:
      Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl",
      2019 (F1 at a threshold of the overlap)

    Example:
      >>> import jaxnoise as jn
      >>> scores = jn.metrics.object_scores([1, 1, 0, 2, 3], [4, 4, 4, 0, 7])
      >>> round(float(scores.precision), 3), float(scores.recall), scores.matches.tolist()
      (0.667, 1.0, [[1, 4], [3, 7]])
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    _check(prediction, target, iou)
    found, there, overlap = _overlaps(prediction, target)
    first, second = _match(np.where(overlap >= iou, overlap, 0.0))
    objects = np.array([len(found), len(there), (len(found) + len(there)) / 2])
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = len(first) / objects
    matches = np.stack([found[first], there[second]], axis=1)
    return ObjectScores(precision, recall, f1, matches, overlap[first, second])


def _overlaps(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
    """The labels of both without 0, and the intersection over union of every pair."""
    found, i = np.unique(prediction, return_inverse=True)
    there, j = np.unique(target, return_inverse=True)
    counts = np.bincount((i * len(there) + j).ravel(), minlength=len(found) * len(there))
    both = counts.reshape(len(found), len(there))
    overlap = both / (both.sum(1, keepdims=True) + both.sum(0) - both)
    return found[found > 0], there[there > 0], overlap[found > 0][:, there > 0]


def _match(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of positive overlap, as many as there can be, and of these the largest overlaps."""
    from scipy.optimize import linear_sum_assignment

    largest_sum = max(1, min(overlap.shape))
    first, second = linear_sum_assignment((overlap > 0) * largest_sum + overlap, maximize=True)
    matched = overlap[first, second] > 0
    return first[matched], second[matched]


def _check(prediction: np.ndarray, target: np.ndarray, iou: float) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have one shape, got {prediction.shape} and {target.shape}"
        )
    for name, labels in (("prediction", prediction), ("target", target)):
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"{name} must hold labels of objects, integers, got {labels.dtype}: "
                "volumes.label_components makes them of a mask"
            )
        if labels.size and labels.min() < 0:
            raise ValueError(f"{name} has negative labels: objects have positive ones")
    check_numbers(iou, "iou")
    if not 0 < iou <= 1:
        raise ValueError(f"iou must lie in (0, 1], got {iou}")
