"""Borders between cells, thinned to lines by flooding from the cells."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Int

_DAM, _DRY, _QUEUED, _OUTSIDE = 0, -1, -2, -3


def thin_borders(mask: ArrayLike) -> Int[np.ndarray, "*D H W"]:
    """Labels every cell and floods the borders from all cells at once; dams stay where two meet.

    A watershed of two levels: the 4-connected regions of the mask are basins, the pixels between
    them are flooded in the order of a queue. It starts with those beside a basin, column by column;
    each pixel appends those of its four neighbours that aren't in it yet, and takes the label that
    its neighbours have so far. Where these differ, or are dams alone, it becomes a dam, 0. No pixel
    of a cell changes, specks inside a cell and ends of borders that separate nothing vanish, and
    most dams are one pixel wide. The order decides where between two cells a dam lies; it is that
    of ImageJ's watershed, so that scores compare with published ones.

    This is NumPy and plain Python on the host: it can't be traced by JAX. Only border pixels cost
    time, about 1 µs each.

    Args:
      mask: (H, W) or a stack (D, H, W) of independent slices, booleans or integers, nonzero inside
        cells.

    Returns:
      int32 labels of the mask's shape, 1, 2, … in each slice and 0 on dams. Without any cell, all
      of a slice is 1.

    Raises:
      TypeError: if the mask holds neither booleans nor integers.
      ValueError: if the mask is no picture or stack, or holds no pixels.

    Example:
      >>> import jaxnoise as jn
      >>> jn.metrics.thin_borders([[1, 1, 1, 0, 0, 0, 1], [1, 0, 1, 0, 0, 0, 1]]).tolist()
      [[1, 1, 1, 1, 0, 2, 2], [1, 1, 1, 1, 0, 2, 2]]

    References:
      Vincent, Soille, "Watersheds in Digital Spaces: An Efficient Algorithm Based on Immersion
      Simulations", 1991
      Arganda-Carreras et al., "Crowdsourcing the Creation of Image Segmentation Algorithms for
      Connectomics", 2015
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biu":
        raise TypeError(
            f"mask must hold booleans or integers, got {mask.dtype}: compare with a threshold first"
        )
    if mask.ndim not in (2, 3) or not mask.size:
        raise ValueError(f"mask must be (H, W) or (D, H, W) with pixels, got {mask.shape}")
    inside = mask != 0
    return _flood(inside) if mask.ndim == 2 else np.stack([_flood(one) for one in inside])


def _flood(inside: np.ndarray) -> np.ndarray:
    """Thins one slice, laid out column by column with a rim around it."""
    if not inside.any():
        return np.ones(inside.shape, np.int32)
    inside = inside.T
    from scipy import ndimage  # takes long to import

    basins, _ = ndimage.label(inside)  # pyright: ignore[reportGeneralTypeIssues]
    start = np.where(inside, basins, _DRY)
    start[~inside & ndimage.binary_dilation(inside)] = _QUEUED
    start = np.pad(start, 1, constant_values=_OUTSIDE)
    labels, queue = start.ravel().tolist(), np.flatnonzero(start == _QUEUED).tolist()

    column = start.shape[1]
    for pixel in queue:  # which grows meanwhile
        own = None
        for neighbour in (pixel - column, pixel - 1, pixel + column, pixel + 1):
            label = labels[neighbour]
            if label > 0:
                own = label if own in (None, label) else _DAM
            elif label == _DRY:
                labels[neighbour] = _QUEUED
                queue.append(neighbour)
        labels[pixel] = own or _DAM
    return np.array(labels, np.int32).reshape(start.shape)[1:-1, 1:-1].T
