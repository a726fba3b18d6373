"""Losses of a discriminator's scores."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from .. import _checks
from ._examples import example_means


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

    Raises:
      TypeError: if scores are no numbers.

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
    _checks.check_numbers(scores, "scores")
    targets = jnp.full_like(scores, real)
    return example_means(optax.sigmoid_binary_cross_entropy(scores, targets))


def least_squares_gan(scores: jax.Array, real: bool) -> jax.Array:
    """Squared distance of a discriminator's scores from 1 (real) or 0 (generated).

    The mean over an example's scores s, one for each patch, of (s − 1)² or s². The paper's have a
    factor of one half besides.

    Args:
      scores: (B, …), no sigmoid taken of them; each example's are averaged.
      real: what the scores should say.

    Returns:
      (B,) losses.

    Raises:
      TypeError: if scores are no numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.least_squares_gan(jnp.full((1, 2, 2, 1), 3.0), real=True)
      Array([4.], dtype=float32)

    References:
      Mao, Li, Xie, Lau, Wang, Smolley, "Least Squares Generative Adversarial Networks", 2017, eq. 2
    """
    _checks.check_numbers(scores, "scores")
    return example_means(jnp.square(scores - jnp.full_like(scores, real)))
