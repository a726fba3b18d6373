"""Random shifts of images: windows of their padded copies."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Key, PyTree

from .._checks import check_whole
from ._augment import map_images


def random_crop(key: Key[Array, ""], images: PyTree, padding: int = 4) -> PyTree:
    """Pads every spatial axis with zeros and cuts a random window of the old size.

    Args:
      key: typed key.
      images: (B, H, W, C), or a batch with such leaves.
      padding: pixels added on each side; the window's offset is uniform in 0 … 2 · padding.

    Returns:
      The images, shape and dtype unchanged.

    Raises:
      ValueError: if padding is negative or there are no images.

    References:
      C.-Y. Lee et al., "Deeply-supervised nets", 2015.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.random_crop(jax.random.key(0), jnp.ones((2, 8, 8, 3), jnp.uint8)).shape
      (2, 8, 8, 3)
    """
    check_whole(padding, "padding")
    if padding < 0:
        raise ValueError(f"padding must not be negative, got {padding}")

    def crop(keys: Array, stack: Array, _name: str) -> Array:
        window, spatial = stack.shape[1:], stack.ndim - 2
        padded = jnp.pad(stack, [(0, 0), *[(padding, padding)] * spatial, (0, 0)])

        def crop_one(key: Array, image: Array) -> Array:
            start = jax.random.randint(key, (spatial,), 0, 2 * padding + 1)
            return lax.dynamic_slice(image, (*start, jnp.zeros_like(start[0])), window)

        return jax.vmap(crop_one)(keys, padded)

    return map_images(crop, key, images)
