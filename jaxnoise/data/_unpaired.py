"""Batches of two or more sets that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Key, PyTree

from .._checks import check_key
from .._tree import as_partial, num_examples


def unpaired(others: Mapping[str, PyTree]) -> Partial:
    """Adds examples of other sets to each batch, drawn with replacement, each set by itself.

    What is given to `fit` as data then sets the length of an epoch, and these sets may have other
    numbers of examples.

    Args:
      others: name → all examples of a set, arrays with a leading axis; they stay on the device.

    Returns:
      An augmentation (key, batch) → batch that has these entries, too. It holds the sets as its
      leaves, so that compiled programs take others of the same shapes.

    Raises:
      TypeError: if others is no dict.
      ValueError: if a set has no examples, or, in a call, if the batch has such an entry already.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> augment = jn.data.unpaired({"label": jnp.zeros((100, 8, 8, 1))})
      >>> batch = augment(jax.random.key(0), {"image": jnp.ones((3, 8, 8, 1))})
      >>> batch["image"].shape, batch["label"].shape
      ((3, 8, 8, 1), (3, 8, 8, 1))
    """
    if not isinstance(others, Mapping):
        raise TypeError(f"others must be a dict of sets by name, got a {type(others).__name__}")
    for name, examples in others.items():
        num_examples(examples, name)
    return Partial(_add, jax.tree.map(jnp.asarray, dict(others)))


def separately(augmentation: Callable) -> Partial:
    """Augments every entry of a batch with a random key of its own, so that none are aligned.

    Args:
      augmentation: (key, batch) → batch, such as `random_flip`.

    Returns:
      An augmentation (key, batch) → batch of dicts.

    Raises:
      TypeError: in a call, if key is no typed key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> flip = jn.data.separately(jn.data.random_flip)
      >>> batch = {"image": jnp.ones((2, 8, 8, 1)), "label": jnp.ones((2, 4, 4, 1))}
      >>> flip(jax.random.key(0), batch)["label"].shape
      (2, 4, 4, 1)
    """
    return Partial(_apart, as_partial(augmentation))


def _add(others: dict[str, Any], key: Key[Array, ""], batch: dict[str, Any]) -> dict[str, Any]:
    if twice := set(others) & set(batch):
        raise ValueError(f"the batch has {', '.join(sorted(twice))} already: name one otherwise")
    check_key(key)
    count = num_examples(batch, "batch")

    def draw(key: Array, examples: PyTree) -> PyTree:
        drawn = jax.random.randint(key, (count,), 0, num_examples(examples))
        return jax.tree.map(lambda x: x[drawn], examples)

    keys = jax.random.split(key, len(others))
    added = [draw(key, examples) for key, examples in zip(keys, others.values(), strict=True)]
    return {**batch, **dict(zip(others, added, strict=True))}


def _apart(augmentation: Callable, key: Key[Array, ""], batch: dict[str, Any]) -> dict[str, Any]:
    check_key(key)
    keys = jax.random.split(key, len(batch))
    return {
        name: augmentation(key, entry)
        for (name, entry), key in zip(batch.items(), keys, strict=True)
    }
