"""Random augmentation of image batches on the device, fit for jit, scan and vmap.

Every function takes a typed key and images: an array (B, H, W, C), or a batch that holds such
arrays. In a batch every leaf of at least 4 axes, (B, H, W, C) or volumes (B, D, H, W, C), is
transformed with the same random draws, and so is a map without channels, (B, H, W) beside images
(B, H, W, C); the other leaves pass unchanged. Examples are drawn independently, dtypes are kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jax.tree_util import Partial
from jaxtyping import Array, Key, PyTree

from .._checks import as_arrays, check_key, check_numbers, check_whole
from .._tree import as_partial, is_concrete

Augmentation = Callable[[Key[Array, ""], PyTree], PyTree]


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
      >>> random_crop(jax.random.key(0), jnp.ones((2, 8, 8, 3), jnp.uint8)).shape
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


def random_flip(key: Key[Array, ""], images: PyTree, axes: Sequence[int] = (-2,)) -> PyTree:
    """Mirrors each example with probability 1/2, along each of the axes independently.

    Args:
      key: typed key.
      images: (B, H, W, C), or a batch with such leaves.
      axes: axes of (B, H, W, C) to mirror; left and right are swapped along -2 (the default), top
        and bottom along -3.

    Returns:
      The images, shape and dtype unchanged.

    Raises:
      ValueError: if one of the axes is not spatial or there are no images.

    Example:
      >>> random_flip(jax.random.key(0), jnp.arange(3.0).reshape(1, 1, 3, 1)).shape
      (1, 1, 3, 1)
    """
    if isinstance(axes, int):
        raise TypeError(f"axes must be several, such as ({axes},), got {axes}")
    for axis in axes:
        check_whole(axis, "axes")

    def flip(keys: Array, stack: Array, _name: str) -> Array:
        mirrored = jax.vmap(lambda key: jax.random.bernoulli(key, shape=(len(axes),)))(keys)
        for i, axis in enumerate(axes):
            if not 1 <= axis % stack.ndim <= stack.ndim - 2 or not -stack.ndim <= axis < stack.ndim:
                raise ValueError(f"axes: {axis} is no spatial axis of images {stack.shape}")
            stack = _where(mirrored[:, i], jnp.flip(stack, axis), stack)
        return stack

    return map_images(flip, key, images)


def random_quarter_turns(key: Key[Array, ""], images: PyTree) -> PyTree:
    """Rotates each example in its (H, W) plane by 0, 90, 180 or 270°, exactly.

    With `random_flip` after it, each of the 8 symmetries of the square is equally likely.

    Args:
      key: typed key.
      images: (B, H, W, C) with H = W, or a batch with such leaves.

    Returns:
      The images, shape and dtype unchanged.

    Raises:
      ValueError: if images are not square or there are none.

    Example:
      >>> random_quarter_turns(jax.random.key(0), jnp.ones((2, 8, 8, 3))).shape
      (2, 8, 8, 3)
    """

    def turn(keys: Array, stack: Array, _name: str) -> Array:
        _check_square(stack)
        turns = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys)
        stack = _where(turns % 2 == 1, jnp.rot90(stack, axes=(-3, -2)), stack)
        return _where(turns >= 2, jnp.flip(stack, (-3, -2)), stack)

    return map_images(turn, key, images)


def random_symmetry(key: Key[Array, ""], images: PyTree) -> PyTree:
    """Applies one of the eight symmetries of the square to each example, all equally likely.

    Args:
      key: typed key.
      images: (B, H, W, C) with H = W, or a batch with such leaves.

    Returns:
      The images, shape and dtype unchanged.

    Raises:
      ValueError: if images are not square or there are none.

    Example:
      >>> random_symmetry(jax.random.key(0), jnp.ones((2, 8, 8, 3))).shape
      (2, 8, 8, 3)
    """
    return compose(random_quarter_turns, random_flip)(key, images)


def eightfold(images: PyTree) -> PyTree:
    """All eight symmetries of the square of every example, not drawn but one after another.

    Args:
      images: (B, H, W, C) with H = W, or a batch with such leaves.

    Returns:
      The images (8B, H, W, C): those of example i at 8i … 8i + 7, first turned by 0, 90, 180 and
      270°, then the mirror images of these. Other leaves of a batch are repeated.

    Raises:
      ValueError: if images are not square or there are none.

    Example:
      >>> eightfold(jnp.arange(4).reshape(1, 2, 2, 1))[:, 0, :, 0].tolist()
      [[0, 1], [1, 3], [3, 2], [2, 0], [1, 0], [3, 1], [2, 3], [0, 2]]
    """

    def all_eight(_keys: None, stack: Array, _name: str) -> Array:
        _check_square(stack)
        turned = [jnp.rot90(stack, turns, axes=(-3, -2)) for turns in range(4)]
        versions = jnp.stack(turned + [jnp.flip(version, -2) for version in turned], axis=1)
        return versions.reshape(-1, *stack.shape[1:])

    return map_images(all_eight, None, images, lambda leaf: jnp.repeat(jnp.asarray(leaf), 8, 0))


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
      >>> random_rotation(jax.random.key(0), jnp.ones((2, 8, 8, 3)), 30.0).shape
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


def compose(*augmentations: Augmentation) -> Partial:
    """Chains augmentations, each with a key of its own.

    Args:
      augmentations: functions (key, batch) → batch, applied in this order.

    Returns:
      A function (key, batch) → batch, a callable pytree that holds the arrays in those given.

    Example:
      >>> augment = compose(random_crop, random_flip)
      >>> augment(jax.random.key(0), {"image": jnp.ones((2, 8, 8, 3))})["image"].shape
      (2, 8, 8, 3)
    """
    return Partial(_chain, [as_partial(augmentation) for augmentation in augmentations])


def _chain(augmentations: list[Augmentation], key: Key[Array, ""], batch: PyTree) -> PyTree:
    for i, augmentation in enumerate(augmentations):
        batch = augmentation(jax.random.fold_in(key, i), batch)
    return batch


def map_images(
    transform: Callable[[Any, Array, str], Array],
    key: Key[Array, ""] | None,
    images: PyTree,
    others: Callable[[Any], Any] = lambda leaf: leaf,
) -> PyTree:
    """Applies transform(keys of the examples, (B, …, C), name) to every leaf that holds images.

    The keys are None without a key; `others` maps the leaves that hold none.
    """
    if key is not None:
        check_key(key)
    stacks = [jnp.shape(leaf) for leaf in jax.tree.leaves(images) if jnp.ndim(leaf) >= 4]
    if len({shape[0] for shape in stacks}) != 1:
        raise ValueError(
            "images must be (B, H, W, C), or a batch with such leaves of one B, got "
            f"{[jnp.shape(leaf) for leaf in jax.tree.leaves(images)]}"
        )
    keys = None if key is None else jax.random.split(key, stacks[0][0])
    maps = {shape[:-1] for shape in stacks}  # (B, H, W): maps without channels

    def apply(path: tuple, leaf: Array) -> Array:
        name = str(getattr(path[-1], "key", getattr(path[-1], "name", ""))) if path else ""
        if jnp.shape(leaf) in maps:
            return transform(keys, as_arrays(leaf, "images")[..., None], name)[..., 0]
        if jnp.ndim(leaf) >= 4:
            return transform(keys, as_arrays(leaf, "images"), name)
        return others(leaf)

    return jax.tree_util.tree_map_with_path(apply, images)


def _check_square(stack: Array) -> None:
    if stack.shape[-3] != stack.shape[-2]:
        raise ValueError(f"images: quarter turns need square images, got {stack.shape}")


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


def _where(chosen: Array, one: Array, other: Array) -> Array:
    """Chooses example by example; chosen is (B,)."""
    return jnp.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)
