"""Rotation of images by any angle."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Key, PyTree

from .._checks import check_numbers
from .._tree import is_concrete
from ._augment import map_images


def random_rotation(
    key: Key[Array, ""],
    images: PyTree,
    max_degrees: float | Array = 15.0,
    *,
    fill: str = "zero",
    labels: Sequence[str] = ("label", "mask"),
) -> PyTree:
    """Rotates each example about the centre of its (H, W) plane, by a uniform random angle.

    Pixels are interpolated bilinearly (integers rounded), those of label maps taken from the
    nearest pixel, so that no new labels arise.

    Args:
      key: typed key.
      images: (B, H, W, C), or a batch with such leaves.
      max_degrees: the angle is uniform in [-max_degrees, max_degrees].
      fill: what comes in from outside: "zero", or the "nearest" pixel of the border.
      labels: the names of the leaves that are label maps.

    Returns:
      The images, shape and dtype unchanged.

    Raises:
      ValueError: if fill is unknown or there are no images.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.random_rotation(jax.random.key(0), jnp.ones((2, 8, 8, 3)), 30.0).shape
      (2, 8, 8, 3)
    """
    modes = {"zero": "constant", "nearest": "nearest"}
    if fill not in modes:
        raise ValueError(f'fill must be "zero" or "nearest", got {fill!r}')
    check_numbers(max_degrees, "max_degrees")
    if is_concrete(max_degrees) and not np.isfinite(max_degrees).all():
        raise ValueError(f"max_degrees must be finite, got {max_degrees}")

    def rotate(keys: Array, stack: Array, name: str) -> Array:
        # planes: (B, P, H, W), P counting channels and, of volumes, slices.
        planes = jnp.moveaxis(stack, -1, 1).reshape(stack.shape[0], -1, *stack.shape[-3:-1])
        exact = jnp.issubdtype(stack.dtype, jnp.floating) and stack.dtype.itemsize >= 4
        order, mode = (0 if name in labels else 1), modes[fill]

        def rotate_one(key: Array, planes: Array) -> Array:
            coordinates = _rotated_grid(_angle(key, max_degrees), *planes.shape[-2:])
            return jax.vmap(lambda plane: map_coordinates(plane, coordinates, order, mode))(planes)

        planes = jax.vmap(rotate_one)(keys, planes if exact else planes.astype(jnp.float32))
        if not jnp.issubdtype(stack.dtype, jnp.floating):
            planes = jnp.round(planes)
        moved = planes.reshape(stack.shape[0], stack.shape[-1], *stack.shape[1:-1])
        return jnp.moveaxis(moved, 1, -1).astype(stack.dtype)

    return map_images(rotate, key, images)


def _angle(key: Array, max_degrees: float | Array) -> Array:
    return jnp.deg2rad(max_degrees * jax.random.uniform(key, minval=-1.0, maxval=1.0))


def _rotated_grid(angle: Array, height: int, width: int) -> list[Array]:
    """Where each pixel of the image, turned counter-clockwise, comes from: rows and columns."""
    row = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
    column = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return [
        cos * row + sin * column + (height - 1) / 2,
        cos * column - sin * row + (width - 1) / 2,
    ]
