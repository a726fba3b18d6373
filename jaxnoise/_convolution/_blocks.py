"""Batches in blocks: examples some at a time, and those that are too large in slabs.

For a dense window of three entries along the first axis. A slab is some of an example's outputs
along that axis, with the inputs that they see, of which two are also the next slab's, and counts as
an example of its own. A block is several examples; zeros fill up the last slab and the last block.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ._patches import padded
from ._window import Window

_OVERLAP = 2  # of neighbouring slabs, in pixels


class Blocks(NamedTuple):
    """How a batch is taken apart."""

    whole: Window
    window: Window  # of a slab, the whole one where examples aren't cut
    slabs: int  # to an example
    size: int  # slabs to a block


def blocks_of(outputs: int, examples: int, window: Window) -> Blocks:
    """Blocks, as even as can be, of about so many output positions.

    Slabs are of an even number of outputs along the first axis.
    """
    first = window.positions[0]
    pairs = -(-first // 2)
    slabs = min(pairs, max(1, -(-window.num_positions // outputs)))
    rows = 2 * -(-pairs // slabs)
    slabs, slab = -(-first // rows), window
    if slabs > 1:
        slab = window._replace(
            size=(rows + _OVERLAP, *window.size[1:]), padding=((0, 0), *window.padding[1:])
        )
    num_slabs = examples * slabs
    num_blocks = min(num_slabs, -(-num_slabs * slab.num_positions // outputs))
    return Blocks(window, slab, slabs, -(-num_slabs // num_blocks))


def images_in_blocks(x: jax.Array, blocks: Blocks) -> jax.Array:
    """(number of blocks, size, …, C): images (N, …, C)."""
    if blocks.slabs > 1:
        rows = blocks.window.positions[0]
        low, _ = blocks.whole.padding[0]
        high = rows * blocks.slabs + _OVERLAP - low - x.shape[1]
        x = padded(x, [(low, high)])
        own, behind = x[:, :-_OVERLAP], x[:, _OVERLAP:]
        own, behind = (part.reshape(-1, rows, *x.shape[2:]) for part in (own, behind))
        x = jnp.concatenate([own, behind[:, -_OVERLAP:]], axis=1)
    return _in_blocks(x, blocks)


def outputs_in_blocks(y: jax.Array, blocks: Blocks) -> jax.Array:
    """(number of blocks, size, …, O): outputs (N, …, O)."""
    if blocks.slabs > 1:
        rows = blocks.window.positions[0]
        y = padded(y, [(0, rows * blocks.slabs - y.shape[1])])
        y = y.reshape(-1, rows, *y.shape[2:])
    return _in_blocks(y, blocks)


def outputs_from_blocks(y: jax.Array, examples: int, blocks: Blocks) -> jax.Array:
    """Outputs (N, …, O) of what `outputs_in_blocks` gives."""
    y = lax.collapse(y, 0, 2)[: examples * blocks.slabs]
    y = y.reshape(examples, -1, *y.shape[2:])
    return lax.slice_in_dim(y, 0, blocks.whole.positions[0], axis=1)


def _in_blocks(x: jax.Array, blocks: Blocks) -> jax.Array:
    missing = -x.shape[0] % blocks.size
    x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(-1, blocks.size, *x.shape[1:])
