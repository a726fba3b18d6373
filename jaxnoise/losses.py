"""Losses of one example each, (B,), the mean over examples left to the caller.

Those of classification take (outputs, batch), those of images and volumes (outputs, targets), those
of adversarial training scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from . import _checks, _tree

_LEAST = 1e-30  # probability that has a logarithm


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
    _checks.check_numbers(scores, "scores")
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
    _checks.check_numbers(scores, "scores")
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
    outputs, targets = _alike(outputs, targets)
    return _example_means(jnp.abs(outputs - targets))


def l2(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared difference of each example, mean (outputs − targets)².

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
      >>> jn.losses.l2(jnp.array([[0.0, 1.0], [3.0, 3.0]]), jnp.ones((2, 2)))
      Array([0.5, 4. ], dtype=float32)
    """
    outputs, targets = _alike(outputs, targets)
    return _example_means(jnp.square(outputs - targets))


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
      ValueError: if the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.losses.binary_cross_entropy(jnp.full((1, 4), 0.5), jnp.array([[1, 0, 1, 1]])).round(4)
      Array([0.6931], dtype=float32)
    """
    outputs, targets = _alike(outputs, targets)
    if logits:
        return _example_means(optax.sigmoid_binary_cross_entropy(outputs, targets))
    log_p, log_q = (jnp.log(jnp.maximum(p, _LEAST)) for p in (outputs, 1 - outputs))
    return _example_means(-targets * log_p - (1 - targets) * log_q)


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
    outputs, targets = _alike(outputs, targets)
    p = jax.nn.sigmoid(outputs) if logits else outputs
    shared, sizes = (_example_means(x) for x in (p * targets, p**2 + targets**2))
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


def _example_means(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=range(1, values.ndim))


def _alike(outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    """Both as floating numbers of one dtype, of at least single precision."""
    _checks.check_numbers(outputs, "outputs")
    _checks.check_numbers(targets, "targets")
    if jnp.shape(outputs) != jnp.shape(targets):
        raise ValueError(
            f"outputs and targets must have one shape, got {jnp.shape(outputs)} and "
            f"{jnp.shape(targets)}"
        )
    outputs = _tree.wide(jnp.asarray(outputs))
    return outputs, jnp.asarray(targets, outputs.dtype)


def _labels(outputs: jax.Array, batch: Any) -> jax.Array:
    """The label of each example, after a look at what there is."""
    if not isinstance(batch, Mapping) or "label" not in batch:
        found = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(f"the batch has no entry 'label': it holds {found}")
    label = batch["label"]
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
