"""Augmentation of image batches on the device, fit for jit, scan and vmap: what all of it shares.

Every function takes a typed key and images: an array (B, H, W, C), or a batch that holds such
arrays. In a batch every leaf of at least 4 axes, (B, H, W, C) or volumes (B, D, H, W, C), is
transformed with the same random draws, and so is a map without channels, (B, H, W) beside images
(B, H, W, C); the other leaves pass unchanged. Examples are drawn independently, dtypes are kept.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Key, PyTree

from .._checks import as_arrays, check_key
from .._tree import as_partial

Augmentation = Callable[[Key[Array, ""], PyTree], PyTree]


def compose(*augmentations: Augmentation) -> Partial:
    """Chains augmentations, each with a key of its own.

    Args:
      augmentations: functions (key, batch) → batch, applied in this order.

    Returns:
      A function (key, batch) → batch, a callable pytree that holds the arrays in those given.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> augment = jn.data.compose(jn.data.random_crop, jn.data.random_flip)
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
        own = None if keys is None else jax.random.clone(keys)  # the same for all leaves
        if jnp.shape(leaf) in maps:
            return transform(own, as_arrays(leaf, "images")[..., None], name)[..., 0]
        if jnp.ndim(leaf) >= 4:
            return transform(own, as_arrays(leaf, "images"), name)
        return others(leaf)

    return jax.tree_util.tree_map_with_path(apply, images)
