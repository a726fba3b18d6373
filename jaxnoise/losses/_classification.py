"""Losses of class scores against labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from .. import _checks


def cross_entropy(outputs: jax.Array, batch: Any) -> jax.Array:
    """Cross-entropy of class scores against integer labels, −log softmax(outputs)[label].

    Args:
      outputs: (B, K) scores.
      batch: holds "label", (B,) integers in 0…K−1.

    Returns:
      (B,) losses in nats; NaN, with a gradient of NaN, where a label is outside of 0…K−1.

    Raises:
      TypeError: if scores are not floating or labels no integers.
      ValueError: if there isn't one label for each example's scores.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.cross_entropy(jnp.zeros((1, 2)), {"label": jnp.array([1])}).round(4)
      Array([0.6931], dtype=float32)
    """
    label = _labels(outputs, batch)
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, label)
    is_class = (label >= 0) & (label < outputs.shape[-1])
    return losses * jnp.where(is_class, 1, jnp.nan).astype(losses.dtype)


def classification(outputs: jax.Array, batch: Any) -> dict[str, jax.Array]:
    """Cross-entropy and accuracy side by side, for landscapes of both.

    Args:
      outputs: (B, K) scores.
      batch: holds "label", (B,) integers in 0…K−1.

    Returns:
      {"loss": (B,) cross-entropy in nats, "accuracy": (B,) ones and zeros}.

    Raises:
      TypeError, ValueError: as `cross_entropy`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> scores = jnp.array([[2.0, 0.0], [2.0, 0.0]])
      >>> jn.losses.classification(scores, {"label": jnp.array([0, 1])})["accuracy"]
      Array([1., 0.], dtype=float32)
    """
    correct = jnp.argmax(outputs, axis=-1) == _labels(outputs, batch)
    return {
        "loss": cross_entropy(outputs, batch),
        "accuracy": correct.astype(outputs.dtype),
    }


def _labels(outputs: jax.Array, batch: Any) -> jax.Array:
    """The label of each example, after a look at what there is."""
    label = _checks.entry(batch, "label")
    _checks.check_floating(outputs, "outputs")
    _checks.check_numbers(label, "label")
    label = jnp.asarray(label)
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise TypeError(f"label must hold classes, integers, got {label.dtype}")
    if label.shape != outputs.shape[:-1]:
        raise ValueError(
            f"label must hold one class for each of the outputs (B, K), got {label.shape} for "
            f"outputs of shape {outputs.shape}"
        )
    return label
