"""A pool of images that a generator made before, for its discriminator to be shown."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from .._checks import check_count, shown


class ImagePool(NamedTuple):
    """Images that were made before; a pytree, so that it trains, saves and replicates with a model.

    Attributes:
      images: (S, …), of which the first `count` are filled.
      count: (), how many there are.
    """

    images: Float[Array, "S ..."]
    count: Int[Array, ""]


def image_pool(image: Array, size: int = 50) -> ImagePool:
    """An empty pool for images like this one.

    Args:
      image: one image (H, W, C) or volume (D, H, W, C), or what tells its shape and dtype.
      size: S, the number of images it holds; 0 for none, so that `query` passes all through.

    Returns:
      An `ImagePool`.

    Raises:
      ValueError: if size is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> pool = jn.training.image_pool(jnp.zeros((8, 8, 1)), 20)
      >>> pool.images.shape, int(pool.count)
      ((20, 8, 8, 1), 0)

    References:
      Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb, "Learning from Simulated and Unsupervised
      Images through Adversarial Training", 2017, section 2.3 (the idea)
    """
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        raise TypeError(f"image must be an array, or tell its shape and dtype, got {shown(image)}")
    check_count(size, "size", 0)
    return ImagePool(jnp.zeros((size, *image.shape), image.dtype), jnp.zeros((), jnp.int32))


def query(
    key: Key[Array, ""], pool: ImagePool, images: Float[Array, "B ..."]
) -> tuple[Float[Array, "B ..."], ImagePool]:
    """What the discriminator is shown in place of the images, and the pool after them.

    One after another, an image is kept and shown as long as the pool isn't full. Then, with
    probability ½, it takes the place of a uniformly drawn one that is shown instead, and else it is
    shown and not kept.

    Args:
      key: typed key.
      pool: those made before.
      images: (B, …) just made.

    Returns:
      (images (B, …), pool).

    References:
      Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
      Adversarial Networks", 2017, section 4 (50 images)
    """
    size = len(pool.images)
    if size == 0:
        return images, pool

    def one(pool: ImagePool, inputs: tuple[Array, Array]) -> tuple[ImagePool, Array]:
        key, image = inputs
        coin_key, slot_key = jax.random.split(key)
        filling = pool.count < size
        swapped = ~filling & jax.random.bernoulli(coin_key)
        slot = jnp.where(filling, pool.count, jax.random.randint(slot_key, (), 0, size))
        old = pool.images[slot]
        kept = jnp.where(filling | swapped, image, old)
        filled = ImagePool(pool.images.at[slot].set(kept), pool.count + filling)
        return filled, jnp.where(swapped, old, image)

    pool, shown = lax.scan(one, pool, (jax.random.split(key, len(images)), images))
    return shown, pool
