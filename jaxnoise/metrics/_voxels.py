"""Accuracy and the two types of error of a segmentation into object and background."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import check_numbers
from .._results import Result
from .._tree import is_concrete


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class VoxelErrors(Result):
    """How many voxels a segmentation gets right.

    Attributes:
      accuracy: share of all voxels that are right; 1 − type_1 − type_2.
      type_1: share of all voxels that are object in the prediction alone (false positives).
      type_2: share of all voxels that are object in the target alone (false negatives).
      dice: overlap of both objects over their mean size; NaN where there are none.
    """

    accuracy: Float[Array, ""]
    type_1: Float[Array, ""]
    type_2: Float[Array, ""]
    dice: Float[Array, ""]


def voxel_errors(prediction: ArrayLike, target: ArrayLike) -> VoxelErrors:
    """Accuracy, Type-I and Type-II error and Dice coefficient, over all voxels together.

    With n voxels, of which n_TP are object in both, n_TN in none, n_FP in the prediction alone and
    n_FN in the target alone,

        accuracy = (n_TP + n_TN)/n,   Type-I = n_FP/n,   Type-II = n_FN/n,
        Dice = 2 n_TP/(2 n_TP + n_FP + n_FN)

    Works under `jax.jit` and `jax.vmap`.

    Args:
      prediction: array of any shape. Booleans and labels are object where they aren't zero,
        floating numbers, probabilities, where they exceed one half.
      target: likewise, of the same shape.

    Returns:
      `VoxelErrors`. Up to 2³¹ voxels are counted exactly.

    Raises:
      ValueError: if the shapes differ or there are no voxels.

    References:
      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018

    Example:
      >>> import jaxnoise as jn
      >>> errors = jn.metrics.voxel_errors([[7, 7], [0, 1]], [[1, 0], [0, 0]])
      >>> float(errors.accuracy), float(errors.type_1), float(errors.type_2), float(errors.dice)
      (0.5, 0.5, 0.0, 0.5)
    """
    check_numbers(prediction, "prediction")
    check_numbers(target, "target")
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    if prediction.shape != target.shape or not prediction.size:
        raise ValueError(
            "prediction and target must have one shape and voxels, got "
            f"{prediction.shape} and {target.shape}"
        )
    for name, values in (("prediction", prediction), ("target", target)):
        if is_concrete(values) and not jnp.isfinite(values).all():
            raise ValueError(f"{name} must be finite: it holds NaN or infinite values")
    found, there = _is_object(prediction), _is_object(target)
    both, alone, missed = jnp.sum(found & there), jnp.sum(found & ~there), jnp.sum(~found & there)
    size = prediction.size
    return VoxelErrors(
        accuracy=(size - alone - missed) / size,
        type_1=alone / size,
        type_2=missed / size,
        dice=2 * both / (jnp.sum(found) + jnp.sum(there)),
    )


def _is_object(values: Array) -> Array:
    return values > 0.5 if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(bool)
