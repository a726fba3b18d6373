"""CIFAR's images as networks see them in Sato and Iiduka's experiments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jaxnoise as jn

_MEAN, _STD = (0.50708, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615)  # of CIFAR-100


def is_cifar(data: str) -> bool:
    """Whether images are standardized, cropped, mirrored and turned."""
    return data.startswith("cifar")


def standardized(batch: Any) -> jax.Array:
    """A batch's images at mean 0 and deviation 1 by channel, as measured on CIFAR-100."""
    return (batch["image"] / 255.0 - jnp.array(_MEAN)) / jnp.array(_STD)


def crop_flip_turn(key: jax.Array, batch: Any) -> Any:
    """Crops after padding by 4 pixels, mirrors, and turns by up to 15°."""
    steps = (jn.data.random_crop, jn.data.random_flip, jn.data.random_rotation)
    return jn.data.compose(*steps)(key, batch)
