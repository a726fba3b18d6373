"""Synthetic facades: label maps of houses, and photographs of them."""

from __future__ import annotations

import functools

import jax
from jaxtyping import Array, Key

from .._checks import check_count, check_key
from .._streaming import map_examples
from ._facade_photo import photograph
from ._facade_plan import classes_of, draw_house, grid_of

_AT_ONCE = 32  # houses drawn side by side


def facades(key: Key[Array, ""], num: int, size: int = 64) -> dict[str, Array]:
    """Draws houses: their label maps and photographs of them.

    A label map shows a wall of 2 to 5 floors and 3 to 6 columns of windows, some floors with
    balconies, a door, a roof with a chimney, sky, ground and in four of ten a tree in front. The
    photograph adds what the labels don't say: colours of every part, brick or plaster, window
    frames, curtains and lit rooms, roof tiles, railings, clouds, shadows under eaves and balconies,
    exposure, tint, blur and sensor noise. So labels can be told from a photograph, while one label
    map has many photographs: a paired set for image translation in both directions.

    Args:
      key: typed key; one key gives the same houses each time.
      num: number N of houses.
      size: side of the images, pixels, at least 16.

    Returns:
      {"label": (N, size, size) int32, "image": (N, size, size, 3) uint8}. Label c is
      `FACADE_CLASSES[c]`: sky, roof, wall, window, balcony, door, ground, tree.

    Raises:
      ValueError: if num or size is too small.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> houses = jn.data.facades(jax.random.key(0), 2, size=16)
      >>> houses["image"].shape, houses["label"].shape
      ((2, 16, 16, 3), (2, 16, 16))
    """
    check_key(key)
    check_count(num, "num")
    check_count(size, "size", 16)
    return _facades(jax.random.split(key, num), size)


@functools.partial(jax.jit, static_argnums=1)
def _facades(keys: Key[Array, " N"], size: int) -> dict[str, Array]:
    return map_examples(jax.vmap(functools.partial(_facade, size)), keys, _AT_ONCE)


def _facade(size: int, key: Key[Array, ""]) -> dict[str, Array]:
    house_key, photo_key = jax.random.split(key)
    house = draw_house(house_key)
    fine = grid_of(house, 2 * size)
    return {
        "label": classes_of(house, grid_of(house, size)),
        "image": photograph(photo_key, house, fine, classes_of(house, fine)),
    }
