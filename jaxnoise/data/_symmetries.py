"""Flips and quarter turns, which move pixels without changing them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from .._checks import check_whole
from ._augment import compose, map_images


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
      TypeError: if axes is one number.
      ValueError: if one of the axes is not spatial or there are no images.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.random_flip(jax.random.key(0), jnp.arange(3.0).reshape(1, 1, 3, 1)).shape
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
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.random_quarter_turns(jax.random.key(0), jnp.ones((2, 8, 8, 3))).shape
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
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.random_symmetry(jax.random.key(0), jnp.ones((2, 8, 8, 3))).shape
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
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.data.eightfold(jnp.arange(4).reshape(1, 2, 2, 1))[:, 0, :, 0].tolist()
      [[0, 1], [1, 3], [3, 2], [2, 0], [1, 0], [3, 1], [2, 3], [0, 2]]
    """

    def all_eight(_keys: None, stack: Array, _name: str) -> Array:
        _check_square(stack)
        turned = [jnp.rot90(stack, turns, axes=(-3, -2)) for turns in range(4)]
        versions = jnp.stack(turned + [jnp.flip(version, -2) for version in turned], axis=1)
        return versions.reshape(-1, *stack.shape[1:])

    return map_images(all_eight, None, images, lambda leaf: jnp.repeat(jnp.asarray(leaf), 8, 0))


def _check_square(stack: Array) -> None:
    if stack.shape[-3] != stack.shape[-2]:
        raise ValueError(f"images: quarter turns need square images, got {stack.shape}")


def _where(chosen: Array, one: Array, other: Array) -> Array:
    """Chooses example by example; chosen is (B,)."""
    return jnp.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)
