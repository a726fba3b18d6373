"""A convolution whose derivatives stay fast inside compiled loops.

XLA's CPU backend runs the gradients of a convolution 10–20 times slower inside `lax.scan` than
outside it, and convolutions of very small maps slowly everywhere. Here both are matrix products:
with P(x) the patches of x, one row per output position and one column per kernel entry,

    y = P(x) k,    ∂y = P(∂x) k + P(x) ∂k.

These are ordinary operations, so every derivative of every order, forward or backward, and every
batching of them is again a matrix product. On other platforms XLA's own convolution is used.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

# On maps up to this many output positions the forward pass, too, is a matrix product on CPU.
_SMALL_MAP = 16


class _Window(NamedTuple):
    """How the kernel moves: one entry per spatial dimension."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    precision: Any = None
    preferred_element_type: Any = None


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Convolves as `jax.lax.conv_general_dilated` does, with derivatives that are fast in loops.

    Meant for the argument `conv_general_dilated` of `flax.nnx.Conv`. Channels-last layouts without
    groups and without input dilation take the fast way; anything else goes to XLA as it is.

    Args:
      lhs: (N, spatial…, C) images.
      rhs: (kernel…, C, O) kernel.
      window_strides: one stride per spatial dimension.
      padding: "SAME", "VALID" or a (low, high) pair per spatial dimension.
      lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, batch_group_count,
        precision, preferred_element_type, out_sharding: as for `conv_general_dilated`.

    Returns:
      (N, spatial…, O).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxnoise.models import convolution
      >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
      >>> convolution(images, kernel, (1, 1), "VALID",
      ...             dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
      (1, 2, 2, 5)
    """
    spatial = lhs.ndim - 2
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    plain = (
        numbers == _channels_last(spatial)
        and feature_group_count == batch_group_count == 1
        and all(d == 1 for d in lhs_dilation or ())
        and out_sharding is None
    )
    if not plain:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
            **({} if out_sharding is None else {"out_sharding": out_sharding}),
        )
    dilation = tuple(rhs_dilation or (1,) * spatial)
    if isinstance(padding, str):
        reach = [(k - 1) * d + 1 for k, d in zip(rhs.shape, dilation, strict=False)]
        padding = lax.padtype_to_pads(lhs.shape[1:-1], reach, window_strides, padding)
    window = _Window(
        tuple(window_strides),
        tuple((int(low), int(high)) for low, high in padding),
        dilation,
        precision,
        preferred_element_type,
    )
    return _convolve(lhs, rhs, window)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, window: _Window) -> jax.Array:
    positions = math.prod(_output_shape(x.shape, kernel.shape, window))
    on_cpu = _by_patches if positions <= _SMALL_MAP else _by_xla
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(on_cpu, window=window),
        default=functools.partial(_by_xla, window=window),
    )


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(window: _Window, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _convolve(x, kernel, window)
    if isinstance(dx, SymbolicZero) and isinstance(dkernel, SymbolicZero):
        return y, jnp.zeros_like(y)
    terms = []
    if not isinstance(dx, SymbolicZero):
        terms.append(_bilinear(dx, kernel, window))
    if not isinstance(dkernel, SymbolicZero):
        terms.append(_bilinear(x, dkernel, window))
    return y, sum(terms[1:], terms[0]).astype(y.dtype)


def _bilinear(x: jax.Array, kernel: jax.Array, window: _Window) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_by_patches, window=window),
        default=functools.partial(_by_xla, window=window),
    )


def _by_xla(x: jax.Array, kernel: jax.Array, window: _Window) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=_channels_last(x.ndim - 2),
        precision=window.precision,
        preferred_element_type=window.preferred_element_type,
    )


def _by_patches(x: jax.Array, kernel: jax.Array, window: _Window) -> jax.Array:
    shape = _output_shape(x.shape, kernel.shape, window)
    y_shape = (x.shape[0], *shape, kernel.shape[-1])
    if 0 in shape:  # the kernel doesn't fit
        return jnp.zeros(y_shape, window.preferred_element_type or x.dtype)
    margins = ((0, 0, 0), *((low, high, 0) for low, high in window.padding), (0, 0, 0))
    padded = lax.pad(x, jnp.zeros((), x.dtype), margins)  # a negative margin cuts off
    columns = []
    for offset in itertools.product(*(range(size) for size in kernel.shape[:-2])):
        start = [o * d for o, d in zip(offset, window.dilation, strict=True)]
        stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, shape, window.strides, strict=True)]
        columns.append(
            lax.slice(
                padded,
                (0, *start, 0),
                (x.shape[0], *stop, x.shape[-1]),
                (1, *window.strides, 1),
            )
        )
    patches = jnp.concatenate(columns, axis=-1).reshape(-1, math.prod(kernel.shape[:-1]))
    y = jnp.matmul(
        patches,
        kernel.reshape(-1, kernel.shape[-1]),
        precision=window.precision,
        preferred_element_type=window.preferred_element_type,
    )
    return y.reshape(y_shape)


def _output_shape(x_shape, kernel_shape, window: _Window) -> tuple[int, ...]:
    return tuple(
        max(0, (n + low + high - (k - 1) * d - 1) // s + 1)
        for n, k, (low, high), s, d in zip(
            x_shape[1:-1],
            kernel_shape[:-2],
            window.padding,
            window.strides,
            window.dilation,
            strict=True,
        )
    )


@functools.cache
def _channels_last(spatial: int) -> lax.ConvDimensionNumbers:
    last = spatial + 1
    axes = tuple(range(1, last))
    kernel = (last, spatial, *range(spatial))
    return lax.ConvDimensionNumbers((0, last, *axes), kernel, (0, last, *axes))
