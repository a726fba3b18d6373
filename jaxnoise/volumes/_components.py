"""Connected components of masks, with SciPy on the host."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike, Int

from .._checks import check_not_negative, check_numbers, check_whole


def label_components(mask: ArrayLike, connectivity: int = 1) -> Int[np.ndarray, "*shape"]:
    """Numbers the connected components of a mask.

    Args:
      mask: array of any number of axes. Booleans and labels are inside where they aren't zero,
        floating numbers, probabilities, where they exceed one half.
      connectivity: how many coordinates neighbours may differ in, by one: in a volume 1 joins the 6
        neighbours across faces, 2 also those across edges, 3 all 26.

    Returns:
      int32 of the mask's shape: 0 outside, 1, 2, … in the components; the largest is their number.

    Raises:
      ValueError: if connectivity doesn't lie between 1 and the number of axes.

    Example:
      >>> import jaxnoise as jn
      >>> mask = [[1, 0, 0], [0, 1, 0]]
      >>> jn.volumes.label_components(mask).max(), jn.volumes.label_components(mask, 2).max()
      (np.int32(2), np.int32(1))
    """
    from scipy import ndimage  # SciPy takes long to import

    check_numbers(mask, "mask")
    check_whole(connectivity, "connectivity")
    inside = _inside(np.asarray(mask))
    if not 1 <= connectivity <= max(1, inside.ndim):
        raise ValueError(
            f"connectivity must lie in 1…{max(1, inside.ndim)} for shape {inside.shape}, got "
            f"{connectivity}"
        )
    structure = ndimage.generate_binary_structure(inside.ndim, connectivity)
    labels = np.empty(inside.shape, np.int32)
    ndimage.label(inside, structure, output=labels)
    return labels


def remove_small_components(
    mask: ArrayLike, min_size: int = 100, connectivity: int = 1
) -> np.ndarray:
    """Clears the connected components of fewer than `min_size` voxels.

    Args:
      mask: as for `label_components`.
      min_size: size of the smallest component that stays, voxels.
      connectivity: as for `label_components`.

    Returns:
      A copy of the mask, of its dtype, zero where a component was removed.

    Raises:
      ValueError: if connectivity doesn't lie between 1 and the number of axes.

    References:
      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018 (100 voxels)

    Example:
      >>> import jaxnoise as jn
      >>> jn.volumes.remove_small_components([9, 9, 0, 9], min_size=2)
      array([9, 9, 0, 0])
    """
    check_numbers(mask, "mask")
    check_not_negative(min_size, "min_size")
    mask = np.asarray(mask)
    labels = label_components(mask, connectivity)
    is_small = np.bincount(labels.ravel(), minlength=1) < min_size
    is_small[0] = False
    return np.where(is_small[labels], np.zeros_like(mask), mask)


def _inside(mask: np.ndarray) -> np.ndarray:
    return mask > 0.5 if np.issubdtype(mask.dtype, np.floating) else mask != 0
