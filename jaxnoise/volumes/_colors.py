"""Colours that tell objects apart."""

from __future__ import annotations

import colorsys
import functools

import numpy as np
from jaxtyping import ArrayLike, UInt8

_HUES = 19
_SHADES = [(1.0, 1.0), (0.45, 1.0), (1.0, 0.6)]  # saturation, value
_STEP = 23  # between the colours of consecutive labels; shares no divisor with their number


def color_labels(labels: ArrayLike) -> UInt8[np.ndarray, "*shape 3"]:
    """Colours the objects of a picture or volume, background black.

    There are 57 colours, 19 hues in three shades, in a fixed order in which consecutive labels
    differ widely; label l always has colour l mod 57.

    Args:
      labels: integers of any shape, 0 in the background.

    Returns:
      uint8 of the same shape with red, green and blue as a last axis.

    Raises:
      TypeError: if labels are not integers.

    Example:
      >>> import jaxnoise as jn
      >>> jn.volumes.color_labels([0, 1, 58]).tolist()
      [[0, 0, 0], [225, 255, 140], [225, 255, 140]]
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, got {labels.dtype}: label_components makes them of a mask"
        )
    colors = _palette()[labels % len(_palette())]
    colors[labels == 0] = 0
    return colors


@functools.cache
def _palette() -> np.ndarray:
    colors = [colorsys.hsv_to_rgb(hue / _HUES, *shade) for shade in _SHADES for hue in range(_HUES)]
    order = _STEP * np.arange(len(colors)) % len(colors)
    return np.rint(255 * np.array(colors)).astype(np.uint8)[order]
