"""What losses of images share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .. import _checks, _tree


def alike(outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
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


def example_means(values: jax.Array) -> jax.Array:
    return jnp.mean(values, axis=range(1, values.ndim))
