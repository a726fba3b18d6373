"""Distances between images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._examples import alike, example_means


def l1(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean absolute difference of each example, mean |outputs − targets|.

    Args:
      outputs: (B, …), images for instance.
      targets: likewise.

    Returns:
      (B,) losses.

    Raises:
      TypeError: if outputs or targets are no numbers.
      ValueError: if the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.l1(jnp.array([[0.0, 1.0], [2.0, 2.0]]), jnp.ones((2, 2)))
      Array([0.5, 1. ], dtype=float32)
    """
    outputs, targets = alike(outputs, targets)
    return example_means(jnp.abs(outputs - targets))


def l2(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared difference of each example, mean (outputs − targets)².

    Args:
      outputs: (B, …), images for instance.
      targets: likewise.

    Returns:
      (B,) losses.

    Raises:
      TypeError: if outputs or targets are no numbers.
      ValueError: if the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.l2(jnp.array([[0.0, 1.0], [3.0, 3.0]]), jnp.ones((2, 2)))
      Array([0.5, 4. ], dtype=float32)
    """
    outputs, targets = alike(outputs, targets)
    return example_means(jnp.square(outputs - targets))
