"""Max-pooling whose gradient is as fast as it should be."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import jax
from jax import lax


def max_pool(x: jax.Array, window: Sequence[int]) -> jax.Array:
    """The maximum over windows side by side: axis i is divided by window[i], a rest is dropped.

    The same as `lax.reduce_window` with `lax.max`, gradient included: it goes to the first of equal
    entries. XLA's own gradient searches every window again; on CPU it takes 40 times as long.

    Args:
      x: array.
      window: size of the windows, and of the steps between them, for each axis.

    Returns:
      Array with axes of ⌊n / w⌋ entries.
    """
    shape = []
    for axis, size in enumerate(window):
        count = x.shape[axis] // size
        x = lax.slice_in_dim(x, 0, count * size, axis=axis)
        shape.extend([count, size])
    x = x.reshape(shape)
    offsets = itertools.product(*map(range, window))
    entries = [x[tuple(i for o in offset for i in (slice(None), o))] for offset in offsets]
    return functools.reduce(_larger, entries)


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of two, the first where they are equal, NaN where one is."""
    return lax.select((a >= b) | (a != a), a, b)
