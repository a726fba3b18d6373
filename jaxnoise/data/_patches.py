"""Cutting images into overlapping patches, and putting predictions on them together again."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._checks import check_whole


def patches(stack: PyTree, size: int = 256, overlap: int = 128) -> PyTree:
    """Cuts every image of a stack into square patches that overlap and cover all of it.

    Along an axis of length L patches start at 0, s, 2s, … with s = size − overlap, and the last one
    at L − size, so that it ends at the border and may overlap its neighbour by more.

    Args:
      stack: (N, H, W, …) array, or a batch of such arrays with equal N, H and W, which are cut
        alike.
      size: side of a patch, pixels.
      overlap: pixels that neighbours share, at least 0 and less than size.

    Returns:
      NumPy arrays (N · P, size, size, …) of the stack's dtypes: the P patches of the first image
      row by row, then those of the second, and so on.

    Raises:
      ValueError: if overlap doesn't lie in [0, size), images are smaller than a patch or the arrays
        of a batch don't fit together.

    Example:
      >>> import jaxnoise as jn
      >>> stack = np.arange(2 * 7 * 5).reshape(2, 7, 5)
      >>> cut = jn.data.patches(stack, size=4, overlap=2)
      >>> cut.shape, cut[0, 0].tolist(), cut[1, 0].tolist()
      ((12, 4, 4), [0, 1, 2, 3], [1, 2, 3, 4])
      >>> bool((jn.data.assemble(cut, (7, 5), overlap=2) == stack).all())
      True
    """
    leaves = jax.tree.leaves(stack)
    if len({np.shape(leaf)[:3] for leaf in leaves}) != 1 or np.ndim(leaves[0]) < 3:
        raise ValueError(
            "stack must be (N, H, W, …), or a batch of such arrays with equal N, H and W, got "
            f"{[np.shape(leaf) for leaf in leaves]}"
        )
    check_whole(size, "size")
    corners = _corners(np.shape(leaves[0])[1:3], size, overlap)

    def cut(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        windows = [leaf[:, row : row + size, col : col + size] for row, col in corners]
        return np.stack(windows, axis=1).reshape(-1, size, size, *leaf.shape[3:])

    return jax.tree.map(cut, stack)


def assemble(patches: PyTree, shape: tuple[int, int], overlap: int = 128) -> PyTree:
    """Puts patches in the order of `patches` together to images, averaging where they overlap.

    Every pixel becomes the mean over the patches that show it, taken as a running mean, so that
    patches which agree give exactly their value back. Means of integers are rounded.

    Args:
      patches: (N · P, size, size, …) array, say predictions on what `patches` cut, or a batch of
        such arrays.
      shape: (H, W) of the images.
      overlap: pixels that neighbours share, as when they were cut.

    Returns:
      NumPy arrays (N, H, W, …) of the patches' dtypes.

    Raises:
      ValueError: if the patches aren't square, their number is no multiple of the P that cover an
        image of this shape, or overlap doesn't lie in [0, size).

    Example:
      >>> import jaxnoise as jn
      >>> jn.data.assemble(np.array([[[0.0, 1.0]] * 2, [[3.0, 5.0]] * 2]), (2, 3), overlap=1)
      array([[[0., 2., 5.],
              [0., 2., 5.]]])
    """
    if np.shape(shape) != (2,):
        raise ValueError(f"shape must be the (H, W) of an image, got {shape}")
    if not jax.tree.leaves(patches):
        raise ValueError("patches must be an array of them, or a batch of such, got none")
    return jax.tree.map(lambda leaf: _assemble(np.asarray(leaf), shape, overlap), patches)


def _assemble(cut: np.ndarray, shape: tuple[int, int], overlap: int) -> np.ndarray:
    if cut.ndim < 3 or cut.shape[1] != cut.shape[2]:
        raise ValueError(f"patches must be square, (N · P, size, size, …), got {cut.shape}")
    size = cut.shape[1]
    corners = _corners(shape, size, overlap)
    if not len(cut) or len(cut) % len(corners):
        raise ValueError(
            f"patches must be {len(corners)} per image of shape {tuple(shape)} with size {size} "
            f"and overlap {overlap}, got {len(cut)} in all"
        )
    by_image = cut.reshape(-1, len(corners), *cut.shape[1:])
    exact = jnp.issubdtype(cut.dtype, jnp.floating)
    mean = np.zeros((len(by_image), *shape, *cut.shape[3:]), np.result_type(cut.dtype, np.float32))
    count = np.zeros((*shape, *[1] * (cut.ndim - 3)), mean.dtype)
    for i, (row, col) in enumerate(corners):
        window = np.s_[row : row + size, col : col + size]
        count[window] += 1
        mean[:, *window] += (by_image[:, i] - mean[:, *window]) / count[window]
    return (mean if exact else np.rint(mean)).astype(cut.dtype)


def _corners(shape: tuple[int, int], size: int, overlap: int) -> list[tuple[int, int]]:
    """Where the patches of an image start, row by row."""
    check_whole(overlap, "overlap")
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be at least 0 and less than size {size}, got {overlap}")
    if min(shape) < size:
        raise ValueError(f"size must be at most the images' sides {tuple(shape)}, got {size}")
    rows, columns = ([*range(0, length - size, size - overlap), length - size] for length in shape)
    return [(row, column) for row in rows for column in columns]
