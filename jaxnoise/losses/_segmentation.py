"""Losses of objects against the background."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ._examples import alike, example_means

_LEAST = 1e-30  # probability that has a logarithm


def binary_cross_entropy(
    outputs: jax.Array, targets: jax.Array, *, logits: bool = False
) -> jax.Array:
    """Cross-entropy of each pixel or voxel against object or background, mean per example.

    With probabilities p and targets s the mean over an example's entries of
    −s ln p − (1 − s) ln(1 − p). Where a probability is below 1e-30, say at p = 1 exactly, its
    logarithm is taken as −69 and has no gradient.

    Args:
      outputs: (B, …) probabilities, such as `models.NucleiUNet` gives, or logits.
      targets: (B, …) of the same shape, 0 or false in the background, 1 or true in objects.
      logits: whether outputs are logits, of networks that end without a sigmoid; then nothing is
        bounded and gradients never vanish.

    Returns:
      (B,) losses in nats, in at least single precision.

    Raises:
      TypeError: if outputs or targets are no numbers.
      ValueError: if the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.binary_cross_entropy(jnp.full((1, 4), 0.5), jnp.array([[1, 0, 1, 1]])).round(4)
      Array([0.6931], dtype=float32)
    """
    outputs, targets = alike(outputs, targets)
    if logits:
        return example_means(optax.sigmoid_binary_cross_entropy(outputs, targets))
    log_p, log_q = (jnp.log(jnp.maximum(p, _LEAST)) for p in (outputs, 1 - outputs))
    return example_means(-targets * log_p - (1 - targets) * log_q)


def dice(outputs: jax.Array, targets: jax.Array, *, logits: bool = False) -> jax.Array:
    """Negative overlap of each example's objects with the true ones, between −1 and 0.

    With probabilities p and targets s, summed over an example's entries,

        −2 Σ p s / (Σ p² + Σ s²)

    and 0 where both are zero everywhere, as for any p where s is zero.

    Args:
      outputs: (B, …) probabilities, such as `models.NucleiUNet` gives, or logits.
      targets: (B, …) of the same shape, 0 or false in the background, 1 or true in objects.
      logits: whether outputs are logits, of networks that end without a sigmoid.

    Returns:
      (B,) losses in at least single precision, −1 for a perfect segmentation.

    Raises:
      TypeError: if outputs or targets are no numbers.
      ValueError: if the shapes differ.

    References:
      Milletari, Navab, Ahmadi, "V-Net: Fully Convolutional Neural Networks for Volumetric Medical
      Image Segmentation", 2016, section 3

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.dice(jnp.array([[1.0, 1.0, 0.0, 0.0]]), jnp.array([[1, 0, 1, 0]]))
      Array([-0.5], dtype=float32)
    """
    outputs, targets = alike(outputs, targets)
    p = jax.nn.sigmoid(outputs) if logits else outputs
    shared, sizes = (example_means(x) for x in (p * targets, p**2 + targets**2))
    return -2 * shared / jnp.where(sizes > 0, sizes, 1.0)


def dice_bce(
    outputs: jax.Array,
    targets: jax.Array,
    dice_weight: float = 1.0,
    bce_weight: float = 10.0,
    *,
    logits: bool = False,
) -> jax.Array:
    """Weighted sum of `dice` and `binary_cross_entropy`, per example.

    Args:
      outputs: (B, …) probabilities, such as `models.NucleiUNet` gives, or logits.
      targets: (B, …) of the same shape, 0 or false in the background, 1 or true in objects.
      dice_weight: weight of `dice`.
      bce_weight: weight of `binary_cross_entropy`.
      logits: whether outputs are logits, of networks that end without a sigmoid.

    Returns:
      (B,) losses in at least single precision, −dice_weight for a perfect segmentation.

    Raises:
      TypeError: if outputs or targets are no numbers.
      ValueError: if the shapes differ.

    References:
      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018 (weights 1 and 10)

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.dice_bce(jnp.array([[1.0, 0.0]]), jnp.array([[True, False]]))
      Array([-1.], dtype=float32)
    """
    overlap = dice(outputs, targets, logits=logits)
    return dice_weight * overlap + bce_weight * binary_cross_entropy(
        outputs, targets, logits=logits
    )
