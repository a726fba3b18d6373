"""V_Rand and V_Info: how well membranes separate cells, in pairs of pixels and in bits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

from .._checks import check_function, check_numbers
from .._results import Result
from ._thinning import thin_borders

_THRESHOLDS = tuple(step / 10 for step in range(11))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BoundaryScores(Result):
    """How well proposed cells agree with labelled ones, 1 at best; scalars, or (D,) for a stack.

    Attributes:
      v_rand: harmonic mean of rand_precision and rand_recall.
      rand_precision: of the pairs of pixels in one proposed cell, the share in one labelled cell;
        falls with mergers.
      rand_recall: of the pairs in one labelled cell, the share in one proposed cell; falls with
        splits.
      v_info: harmonic mean of info_precision and info_recall.
      info_precision: share of the labelled cells' entropy that the proposal tells; falls with
        mergers.
      info_recall: share of the proposed cells' entropy that the labels tell; falls with splits.
    """

    v_rand: Float[np.ndarray, "*D"]
    rand_precision: Float[np.ndarray, "*D"]
    rand_recall: Float[np.ndarray, "*D"]
    v_info: Float[np.ndarray, "*D"]
    info_precision: Float[np.ndarray, "*D"]
    info_recall: Float[np.ndarray, "*D"]


class BestThreshold(NamedTuple):
    """The threshold that scores best, and the score.

    Attributes:
      threshold: the best of those tried.
      value: the metric there, the mean over slices.
    """

    threshold: float
    value: float


def boundary_scores(
    proposal: ArrayLike, label: ArrayLike, *, threshold: float = 0.5, thin: bool = True
) -> BoundaryScores:
    """Foreground-restricted V_Rand and V_Info of a segmentation, with their parts.

    The cells A are the 4-connected regions of the label; the proposed cells B are those of
    proposal > threshold, with the borders between them thinned to lines, or as they are. Only the n
    pixels inside A count. A pixel of A in none of B is a cell of its own in B. With p_ij the share
    of pixels in A_i and B_j, and a_i = Σ_j p_ij, b_j = Σ_i p_ij,

        Rand   precision Σ_ij p_ij² / Σ_j b_j²,   recall Σ_ij p_ij² / Σ_i a_i²
        Info   precision I(A; B) / H(A),          recall I(A; B) / H(B)

    where H(A) = −Σ_i a_i ln a_i and I(A; B) = H(A) + H(B) − H(A, B). Where H(A) = 0 (a single
    cell), precision and recall of Info are (0, 1), else where H(B) = 0 (all cells merged) (1, 0):
    V_Info is 0 in both cases, whatever the proposal.

    This is NumPy in float64 on the host: it can't be traced by JAX.

    Args:
      proposal: (H, W), or a stack (D, H, W) of independent slices; in [0, 1], high inside cells.
      label: of the same shape, nonzero inside cells.
      threshold: pixels strictly above it are inside proposed cells.
      thin: whether to thin the proposed borders with `thin_borders`, as in the ISBI challenge.

    Returns:
      `BoundaryScores` of scalars, or for a stack of (D,) arrays, one entry per slice.

    Raises:
      ValueError: if shapes differ or are no picture or stack, values are not finite, or a slice of
        the label holds no cell.

    Example:
      >>> import jaxnoise as jn
      >>> label = [[1, 1, 0, 1], [1, 1, 0, 1]]
      >>> merged = [[0.9, 0.8, 0.7, 0.9], [0.9, 0.9, 0.1, 0.9]]
      >>> scores = jn.metrics.boundary_scores(merged, label)
      >>> round(float(scores.rand_precision), 3), float(scores.rand_recall), float(scores.v_info)
      (0.556, 1.0, 0.0)

    References:
      Arganda-Carreras et al., "Crowdsourcing the Creation of Image Segmentation Algorithms for
      Connectomics", 2015
    """
    for name, value in {"proposal": proposal, "label": label, "threshold": threshold}.items():
        check_numbers(value, name)
    proposal, label = np.asarray(proposal, np.float64), np.asarray(label)
    _check(proposal, label, threshold)
    pairs = zip(_slices(proposal > threshold), _slices(label != 0), strict=True)
    scores = np.array([_slice_scores(proposed, labelled, thin) for proposed, labelled in pairs]).T
    return BoundaryScores(*(scores if proposal.ndim == 3 else scores[:, 0]))


def v_rand(
    proposal: ArrayLike, label: ArrayLike, *, threshold: float = 0.5, thin: bool = True
) -> float | Float[np.ndarray, " D"]:
    """V_Rand of a segmentation: agreement in which pairs of pixels share a cell.

        V_Rand = 2 Σ_ij p_ij² / (Σ_i a_i² + Σ_j b_j²)

    with the shares p, a and b of `boundary_scores`, which also gives precision and recall.

    Args:
      proposal, label, threshold, thin: as for `boundary_scores`.

    Returns:
      A number in (0, 1], or for a stack (D,), one per slice.

    Raises:
      ValueError: as `boundary_scores`.

    Example:
      >>> import jaxnoise as jn
      >>> label = [[1, 1, 0, 1], [1, 1, 0, 1]]
      >>> jn.metrics.v_rand(label, label)
      1.0

    References:
      Arganda-Carreras et al., "Crowdsourcing the Creation of Image Segmentation Algorithms for
      Connectomics", 2015
    """
    return _plain(boundary_scores(proposal, label, threshold=threshold, thin=thin).v_rand)


def v_info(
    proposal: ArrayLike, label: ArrayLike, *, threshold: float = 0.5, thin: bool = True
) -> float | Float[np.ndarray, " D"]:
    """V_Info of a segmentation: the information that proposed and labelled cells share.

        V_Info = 2 I(A; B) / (H(A) + H(B)),   0 where H(A) = 0 or H(B) = 0

    with the entropies of `boundary_scores`, which also gives precision and recall.

    Args:
      proposal, label, threshold, thin: as for `boundary_scores`.

    Returns:
      A number in [0, 1], or for a stack (D,), one per slice.

    Raises:
      ValueError: as `boundary_scores`.

    Example:
      >>> import jaxnoise as jn
      >>> label = [[1, 1, 0, 1], [1, 1, 0, 1]]
      >>> jn.metrics.v_info(label, label), jn.metrics.v_info([[1] * 4] * 2, label)
      (1.0, 0.0)

    References:
      Arganda-Carreras et al., "Crowdsourcing the Creation of Image Segmentation Algorithms for
      Connectomics", 2015
    """
    return _plain(boundary_scores(proposal, label, threshold=threshold, thin=thin).v_info)


def best_threshold(
    metric: Callable[..., ArrayLike],
    proposal: ArrayLike,
    label: ArrayLike,
    thresholds: Sequence[float] = _THRESHOLDS,
) -> BestThreshold:
    """The threshold at which a metric, averaged over slices, is highest; the lowest among equals.

    Args:
      metric: function of (proposal, label, threshold=…) that gives a score or one per slice, such
        as `v_rand`.
      proposal: passed on to the metric.
      label: passed on to the metric.
      thresholds: those to try; 0, 0.1, …, 1 by default.

    Returns:
      `BestThreshold(threshold, value)`.

    Raises:
      ValueError: if there are no thresholds, or where the metric raises.

    Example:
      >>> import jaxnoise as jn
      >>> label = [[1, 1, 0, 1], [1, 1, 0, 1]]
      >>> proposal = [[0.9, 0.8, 0.7, 0.9], [0.9, 0.9, 0.1, 0.9]]
      >>> jn.metrics.best_threshold(jn.metrics.v_rand, proposal, label)
      BestThreshold(threshold=0.7, value=1.0)
    """
    check_function(metric, "metric")
    check_numbers(thresholds, "thresholds")
    tried = [float(threshold) for threshold in thresholds]
    if not tried:
        raise ValueError("thresholds are empty: give at least one")
    values = [float(np.mean(metric(proposal, label, threshold=t))) for t in tried]
    best = int(np.argmax(values))
    return BestThreshold(tried[best], values[best])


def _slice_scores(proposed: np.ndarray, labelled: np.ndarray, thin: bool) -> tuple[float, ...]:
    """The fields of `BoundaryScores` for one slice, from what is inside proposed and true cells."""
    from scipy.special import entr  # SciPy takes long to import

    segments = thin_borders(proposed) if thin else _regions(proposed)
    n_ij, n_i, n_j = _overlaps(_regions(labelled), segments)
    pairs = int(np.sum(n_ij**2))
    precision, recall = pairs / int(np.sum(n_j**2)), pairs / int(np.sum(n_i**2))
    entropy_a, entropy_b, joint = (
        math.fsum(entr(counts / n_ij.sum())) for counts in (n_i, n_j, n_ij)
    )
    shared = max(entropy_a + entropy_b - joint, 0.0)
    if entropy_a == 0:
        told = 0.0, 1.0
    elif entropy_b == 0:
        told = 1.0, 0.0
    else:
        told = min(shared / entropy_a, 1.0), min(shared / entropy_b, 1.0)
    return _harmonic(precision, recall), precision, recall, _harmonic(*told), *told


def _overlaps(cells: np.ndarray, segments: np.ndarray) -> tuple[np.ndarray, ...]:
    """Numbers of pixels, inside cells, by cell and segment n_ij > 0, by cell and by segment."""
    i, j = cells[cells > 0], segments[cells > 0].astype(np.int64)
    stray = j == 0
    j[stray] = segments.max() + 1 + np.arange(stray.sum())
    _, n_ij = np.unique(i * (j.max() + 1) + j, return_counts=True)
    return n_ij, np.bincount(i), np.bincount(j)


def _regions(inside: np.ndarray) -> np.ndarray:
    """The 4-connected regions: 1, 2, …, and 0 outside them."""
    from scipy import ndimage

    return ndimage.label(inside)[0]  # pyright: ignore[reportIndexIssue]


def _harmonic(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _plain(score: np.ndarray) -> float | np.ndarray:
    return score if np.ndim(score) else float(score)


def _slices(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, *images.shape[-2:])


def _check(proposal: np.ndarray, label: np.ndarray, threshold: float) -> None:
    if proposal.shape != label.shape:
        raise ValueError(
            f"proposal and label must have one shape, got {proposal.shape} and {label.shape}"
        )
    if proposal.ndim not in (2, 3) or not proposal.size:
        raise ValueError(
            f"proposal must be (H, W) or (D, H, W) with pixels and no channel axis, got "
            f"{proposal.shape}"
        )
    for name, values in (("proposal", proposal), ("label", label), ("threshold", threshold)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite: it holds NaN or infinite values")
    empty = np.flatnonzero(~_slices(label != 0).any((1, 2)))
    if empty.size:
        raise ValueError(f"label has no cell in slice {empty[0]}: leave out slices without cells")
