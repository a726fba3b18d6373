"""The small parts that several networks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
from flax import nnx
from jax.typing import DTypeLike

from .._convolution import convolution
from .._pooling import max_pool
from ._initial_kernels import he_fan_in
from ._transposed import ConvTranspose

Norm = Literal["batch", "group", "instance", "none"]


def conv(
    in_features: int,
    out_features: int,
    kernel_size: Sequence[int],
    *,
    rngs: nnx.Rngs,
    strides: int = 1,
    padding: int | Literal["reflect"] | None = None,
    use_bias: bool = True,
    kernel_init: Callable = he_fan_in,
    dtype: DTypeLike | None = None,
) -> nnx.Conv:
    """A convolution with fast derivatives, padded on either side as PyTorch pads.

    By `padding` zeros where it is given, by kernel//2 zeros where it is not; with "reflect" by the
    image mirrored at its border.
    """
    given = None if padding == "reflect" else padding
    margins = [size // 2 if given is None else given for size in kernel_size]
    return nnx.Conv(
        in_features,
        out_features,
        kernel_size,
        strides=strides,
        padding="REFLECT" if padding == "reflect" else tuple((side, side) for side in margins),
        use_bias=use_bias,
        kernel_init=kernel_init,
        dtype=dtype,
        conv_general_dilated=convolution,
        rngs=rngs,
    )


def double(
    in_features: int,
    out_features: int,
    kernel_size: Sequence[int],
    *,
    rngs: nnx.Rngs,
    use_bias: bool = True,
    kernel_init: Callable = he_fan_in,
    dtype: DTypeLike | None = None,
) -> ConvTranspose:
    """A transposed convolution of stride 2 that doubles the map.

    It is PyTorch's with padding p = (k − 1)//2 and output padding 2p + 2 − k for kernel size k.
    """
    low = [size - 1 - (size - 1) // 2 for size in kernel_size]
    high = [(size - 1) // 2 + 1 for size in kernel_size]
    return ConvTranspose(
        in_features,
        out_features,
        kernel_size,
        strides=(2,) * len(kernel_size),
        padding=tuple(zip(low, high, strict=True)),
        use_bias=use_bias,
        kernel_init=kernel_init,
        dtype=dtype,
        rngs=rngs,
    )


def normalization(
    norm: Norm,
    features: int,
    *,
    rngs: nnx.Rngs,
    affine: bool = True,
    dtype: DTypeLike | None = None,
) -> Callable:
    """The normalisation layer called `norm`, with the constants of PyTorch's defaults."""
    options = {
        "epsilon": 1e-5,
        "use_scale": affine,
        "use_bias": affine,
        "dtype": dtype,
        "rngs": rngs,
    }
    if norm == "batch":
        return nnx.BatchNorm(features, momentum=0.9, **options)
    if norm == "group":
        return nnx.GroupNorm(features, math.gcd(features, 32), **options)
    if norm == "instance":
        return nnx.InstanceNorm(features, **options)
    if norm == "none":
        return nnx.identity
    raise ValueError(f"norm must be 'batch', 'group', 'instance' or 'none', got {norm!r}")


def halve(x: jax.Array) -> jax.Array:
    """2×2 max-pooling with stride 2; an odd last row or column is dropped."""
    return max_pool(x, (1, *(2,) * (x.ndim - 2), 1))
