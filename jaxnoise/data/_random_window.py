"""Random windows of large images and volumes, cut on the device."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key, PyTree

from .._checks import check_whole
from ._augment import map_images


def random_window(key: Key[Array, ""], images: PyTree, size: int | Sequence[int]) -> PyTree:
    """Cuts a window at random from each example, all of its places equally likely.

    Leaves of equal height, width (and depth) are cut at the same place, so that labels stay with
    their images.

    Args:
      key: typed key.
      images: (B, H, W, C) images or (B, D, H, W, C) volumes, or a batch with such leaves.
      size: sides of the window, one for all axes or one for each, pixels.

    Returns:
      (B, size, size, C) or (B, size, size, size, C); dtypes and other leaves unchanged.

    Raises:
      ValueError: if images are smaller than the window, of other dimensions, or there are none.

    Example:
      >>> import functools
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> cut = functools.partial(jn.data.random_window, size=16)  # an `augment` for `fit`
      >>> cut(jax.random.key(0), {"image": jnp.ones((2, 64, 48, 3))})["image"].shape
      (2, 16, 16, 3)
    """
    for side in size if isinstance(size, Sequence) else (size,):
        check_whole(side, "size")

    def cut(keys: Array, stack: Array, _name: str) -> Array:
        sides = stack.shape[1:-1]
        window = tuple(size) if isinstance(size, Sequence) else (size,) * len(sides)
        fits = len(window) == len(sides) and all(
            1 <= w <= n for w, n in zip(window, sides, strict=True)
        )
        if not fits:
            raise ValueError(f"size must fit into images of sides {sides}, got {size}")
        limits = jnp.array([n - w + 1 for n, w in zip(sides, window, strict=True)])

        def cut_one(key: Array, image: Array) -> Array:
            start = jax.random.randint(key, (len(sides),), 0, limits)
            return lax.dynamic_slice(
                image, (*start, jnp.zeros_like(start[0])), (*window, image.shape[-1])
            )

        return jax.vmap(cut_one)(keys, stack)

    return map_images(cut, key, images)
