"""What one does without training: thresholds and active contours.

Squassh, the third method that the paper compares with, exists as a plug-in of ImageJ only; no
maintained library has it, so it is left out.
"""

from __future__ import annotations

import numpy as np

_SIGMA = 1.0  # of the blur before, voxels
_ITERATIONS = 20


def otsu(volume: np.ndarray) -> np.ndarray:
    """Voxels above Otsu's threshold of the slightly blurred volume, bool."""
    from skimage import filters

    blurred = filters.gaussian(volume, _SIGMA, preserve_range=True)
    return blurred > filters.threshold_otsu(blurred)


def chan_vese(volume: np.ndarray) -> np.ndarray:
    """The brighter side of a 3-D active surface without edges, bool.

    Morphological Chan–Vese of scikit-image from Otsu's mask on, the counterpart of the paper's 3-D
    active surfaces.
    """
    from skimage import filters, segmentation

    blurred = filters.gaussian(volume, _SIGMA, preserve_range=True)
    start = blurred > filters.threshold_otsu(blurred)
    found = segmentation.morphological_chan_vese(
        blurred / 255, _ITERATIONS, init_level_set=start.astype(np.int8), smoothing=1
    ).astype(bool)
    if not found.any() or found.all():
        return found
    return found if blurred[found].mean() > blurred[~found].mean() else ~found


BASELINES = {"otsu": otsu, "chan_vese": chan_vese}
BASELINE_TITLES = {"otsu": "Otsu's threshold", "chan_vese": "active surface (Chan–Vese)"}
