"""What the kernel meets at every position, as rows of a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from ._window import Window


def patches(x: jax.Array, window: Window) -> jax.Array:
    """(N·positions, offsets·C): a row per output position, a column per kernel entry."""
    x = padded(x, window.padding)
    columns = []
    for offset in window.offsets():
        start = [o * d for o, d in zip(offset, window.dilation, strict=True)]
        stop = [
            a + (t - 1) * s + 1
            for a, t, s in zip(start, window.positions, window.strides, strict=True)
        ]
        columns.append(
            lax.slice(
                x,
                (0, *start, 0),
                (x.shape[0], *stop, x.shape[-1]),
                (1, *window.strides, 1),
            )
        )
    return jnp.concatenate(columns, axis=-1).reshape(-1, window.num_offsets * x.shape[-1])


def padded(x: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Zeros around the first spatial axes; a negative number of them cuts off."""
    margins = [(low, high, 0) for low, high in padding]
    rest = x.ndim - 1 - len(margins)
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *margins, *[(0, 0, 0)] * rest])
