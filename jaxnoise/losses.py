"""Losses of one example each, (B,), the mean over examples left to the caller.

Those of supervised learning take (outputs, batch); those of adversarial training scores or images.
"""

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


def gan(scores: jax.Array, real: bool) -> jax.Array:
    """Cross-entropy of a discriminator's scores against "real" or "generated".

    The mean over an example's scores s, one for each patch, of −log σ(s) where they should say
    that it is real, and of −log(1 − σ(s)) where that it is generated. With `real=True` for
    generated images it is the generator's non-saturating loss.

    Args:
      scores: (B, …) logits; each example's are averaged.
      real: what the scores should say.

    Returns:
      (B,) losses in nats.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.gan(jnp.zeros((1, 2, 2, 1)), real=True).round(4)
      Array([0.6931], dtype=float32)

    References:
      Goodfellow et al., "Generative Adversarial Nets", 2014, section 3

      Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
      2017, section 3.2.2 (patches)
    """
    targets = jnp.full_like(scores, real)
    return _example_means(optax.sigmoid_binary_cross_entropy(scores, targets))


def least_squares_gan(scores: jax.Array, real: bool) -> jax.Array:
    """Squared distance of a discriminator's scores from 1 (real) or 0 (generated).

    The mean over an example's scores s, one for each patch, of (s − 1)² or s². The paper's have a
    factor of one half besides.

    Args:
      scores: (B, …), no sigmoid taken of them; each example's are averaged.
      real: what the scores should say.

    Returns:
      (B,) losses.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.least_squares_gan(jnp.full((1, 2, 2, 1), 3.0), real=True)
      Array([4.], dtype=float32)

    References:
      Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", 2017, eq. 2
    """
    return _example_means(jnp.square(scores - jnp.full_like(scores, real)))


def l1(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean absolute difference of each example, mean |outputs − targets|.

    Args:
      outputs: (B, …), images for instance.
      targets: likewise.

    Returns:
      (B,) losses.

    Raises:
      ValueError: if the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.l1(jnp.array([[0.0, 1.0], [2.0, 2.0]]), jnp.ones((2, 2)))
      Array([0.5, 1. ], dtype=float32)
    """
    if jnp.shape(outputs) != jnp.shape(targets):
        raise ValueError(
            f"outputs and targets must have one shape, got {jnp.shape(outputs)} and "
            f"{jnp.shape(targets)}"
        )
    return _example_means(jnp.abs(outputs - targets))


def _example_means(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=range(1, values.ndim))
