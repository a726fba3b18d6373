"""Crops of the photographs that come with scikit-learn and scikit-image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Key, UInt8

from .._checks import check_count, check_key, check_whole

if TYPE_CHECKING:
    from PIL import Image

_LARGEST = 300  # pixels: the shortest side of the photographs


def sample_photographs(
    key: Key[Array, ""], num: int, size: int = 128, test: bool = False
) -> UInt8[np.ndarray, "N size size 3"]:
    """Cuts random squares out of photographs that are installed anyway, and resizes them.

    Those to train on come from a temple, a portrait, a coffee cup and a rocket's launch, those to
    test on from a flower, a cat and a motorcycle. A square has a side uniform between `size` and
    the photograph's shorter one, and lies anywhere in it.

    Args:
      key: typed key; one key gives the same crops each time.
      num: number N of crops.
      size: side of the crops, pixels, at most 300.
      test: whether to cut from the photographs to test on.

    Returns:
      (N, size, size, 3) uint8.

    Raises:
      ValueError: if num is less than 1 or size isn't between 1 and 300.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> jn.data.sample_photographs(jax.random.key(0), 3, size=32).shape
      (3, 32, 32, 3)
    """
    check_key(key)
    check_count(num, "num")
    check_whole(size, "size")
    if not 1 <= size <= _LARGEST:
        raise ValueError(f"size must be between 1 and {_LARGEST} pixels, got {size}")
    from PIL import Image

    photographs = _photographs(test)
    crops = []
    for which, zoom, x, y in np.asarray(jax.random.uniform(key, (num, 4)), float):
        photograph = photographs[int(which * len(photographs))]
        side = size + zoom * (min(photograph.size) - size)
        left, top = x * (photograph.width - side), y * (photograph.height - side)
        box = (left, top, left + side, top + side)
        crops.append(np.asarray(photograph.resize((size, size), Image.Resampling.BICUBIC, box)))
    return np.stack(crops)


@functools.cache
def _photographs(test: bool) -> list[Image.Image]:
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_image

    if test:
        arrays = [load_sample_image("flower.jpg"), data.chelsea(), data.stereo_motorcycle()[0]]
    else:
        arrays = [load_sample_image("china.jpg"), data.astronaut(), data.coffee(), data.rocket()]
    return [Image.fromarray(array) for array in arrays]
