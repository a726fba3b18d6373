"""Losses of one example each: (outputs, batch) → (B,), the mean left to the caller."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def cross_entropy(outputs: jax.Array, batch: Any) -> jax.Array:
    """Cross-entropy of class scores against integer labels, −log softmax(outputs)[label].

    Args:
      outputs: (B, K) scores.
      batch: holds "label", (B,) integers in 0…K−1.

    Returns:
      (B,) losses in nats.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.cross_entropy(jnp.zeros((1, 2)), {"label": jnp.array([1])}).round(4)
      Array([0.6931], dtype=float32)
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch["label"])


def classification(outputs: jax.Array, batch: Any) -> dict[str, jax.Array]:
    """Cross-entropy and accuracy side by side, for landscapes of both.

    Args:
      outputs: (B, K) scores.
      batch: holds "label", (B,) integers in 0…K−1.

    Returns:
      {"loss": (B,) cross-entropy in nats, "accuracy": (B,) ones and zeros}.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> scores = jnp.array([[2.0, 0.0], [2.0, 0.0]])
      >>> jn.losses.classification(scores, {"label": jnp.array([0, 1])})["accuracy"]
      Array([1., 0.], dtype=float32)
    """
    correct = jnp.argmax(outputs, axis=-1) == batch["label"]
    return {
        "loss": cross_entropy(outputs, batch),
        "accuracy": correct.astype(outputs.dtype),
    }
