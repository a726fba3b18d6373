"""The small parts that several networks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
from flax import nnx

from ._convolution import convolution

Norm = Literal["batch", "group", "instance", "none"]

_he_normal = nnx.initializers.he_normal()


def conv(
    in_features: int,
    out_features: int,
    kernel_size: Sequence[int],
    *,
    rngs: nnx.Rngs,
    strides: int = 1,
    use_bias: bool = True,
    kernel_init: Callable = _he_normal,
) -> nnx.Conv:
    """A convolution with kernel//2 zeros on either side, as PyTorch pads, and fast derivatives."""
    return nnx.Conv(
        in_features,
        out_features,
        kernel_size,
        strides=strides,
        padding=[(size // 2, size // 2) for size in kernel_size],
        use_bias=use_bias,
        kernel_init=kernel_init,
        conv_general_dilated=convolution,
        rngs=rngs,
    )


def normalization(norm: Norm, features: int, *, rngs: nnx.Rngs) -> Callable:
    """The normalisation layer called `norm`, with the constants of PyTorch's defaults."""
    if norm == "batch":
        return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)
    if norm == "group":
        return nnx.GroupNorm(features, math.gcd(features, 32), epsilon=1e-5, rngs=rngs)
    if norm == "instance":
        return nnx.InstanceNorm(features, epsilon=1e-5, rngs=rngs)
    if norm == "none":
        return nnx.identity
    raise ValueError(f"norm must be 'batch', 'group', 'instance' or 'none', got {norm!r}")


def halve(x: jax.Array) -> jax.Array:
    """2×2 max-pooling with stride 2; an odd last row or column is dropped."""
    return nnx.max_pool(x, (2,) * (x.ndim - 2), strides=(2,) * (x.ndim - 2))
