"""Synthetic photographs of the retina, with the vessels in it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from .._checks import check_count, check_key
from .._streaming import map_examples
from ._fundus import distances, field_of_view, photograph
from ._vessel_tree import draw_eye, grow_vessels

_AT_ONCE = 4  # eyes drawn side by side
_THINNEST = 0.52  # pixels to either side of a line: as narrow as stays in one piece


def vessels(key: Key[Array, ""], num: int, size: int = 256) -> dict[str, Array]:
    """Draws photographs of the back of the eye, and where its blood vessels are.

    Each eye, left or right, has a bright optic disc, a dark macula in the middle and a mottled
    background between orange and red. Four arteries, four veins and two small vessels leave the
    disc, two pairs of them in arcades around the macula; they wind and taper, and branch twice.
    Arteries are thinner and take less light away, and wide vessels shine along the middle. Then
    come focus, noise and the round field of view with its dark surroundings.

    Statistics over many images of 256 × 256 pixels lie near those of the DRIVE set inside the
    field: red 181, green 97, blue 57 on average, and a share of vessels of 0.125. Vessels are
    drawn as thin as they are but labelled at least one pixel wide, so that trees stay connected;
    those of less than a third of a pixel are left out.

    Args:
      key: typed key; one key gives the same eyes each time.
      num: number N of photographs.
      size: side of the images, pixels, at least 32.

    Returns:
      {"image": (N, size, size, 3) uint8, "label": (N, size, size) uint8, "mask": the same}, label 1
      on vessels and mask 1 in the field of view; there are no vessels outside it.

    Raises:
      ValueError: if num or size is too small.

    References:
      J. Staal et al., "Ridge-based vessel segmentation in color images of the retina", 2004.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> eyes = jn.data.vessels(jax.random.key(0), 2, size=32)
      >>> eyes["image"].shape, eyes["label"].shape, eyes["mask"].shape
      ((2, 32, 32, 3), (2, 32, 32), (2, 32, 32))
    """
    check_key(key)
    check_count(num, "num")
    check_count(size, "size", 32)
    return _vessels(jax.random.split(key, num), size)


@functools.partial(jax.jit, static_argnums=1)
def _vessels(keys: Key[Array, " N"], size: int) -> dict[str, Array]:
    return map_examples(jax.vmap(functools.partial(_fundus, size)), keys, _AT_ONCE)


def _fundus(size: int, key: Key[Array, ""]) -> dict[str, Array]:
    eye_key, tree_key, view_key, photo_key = jax.random.split(key, 4)
    eye = draw_eye(eye_key)
    away = distances(grow_vessels(tree_key, eye), size)
    view, mask = field_of_view(view_key, size)
    wall, middle = jnp.moveaxis(away, 1, 0)
    inside = ((wall < 0) | (middle < _THINNEST)).any(0)
    return {
        "image": photograph(photo_key, eye, away, view),
        "label": (inside & mask).astype(jnp.uint8),
        "mask": mask.astype(jnp.uint8),
    }
