"""Putting together the phases of images: every s-th pixel from a first one along each axis."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def interleave(arrays: Sequence[jax.Array], strides: Sequence[int]) -> jax.Array:
    """The images x with the phases x[:, p₁::s₁, p₂::s₂, …], given in lexical order."""
    for axis, stride in reversed(list(enumerate(strides, start=1))):
        if stride > 1:
            arrays = [_in_turn(arrays[i : i + stride], axis) for i in range(0, len(arrays), stride)]
    return arrays[0]


def _in_turn(arrays: Sequence[jax.Array], axis: int) -> jax.Array:
    shape = arrays[0].shape
    stacked = jnp.stack(arrays, axis=axis + 1)
    return stacked.reshape(*shape[:axis], len(arrays) * shape[axis], *shape[axis + 1 :])
