"""A network applied to a volume of any size by overlapping windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jaxtyping import Array, Num

from .._checks import check_numbers, check_whole
from .._progress import Progress
from .._sharding import check_outside, gather, leading, num_shards, put_everywhere
from .._streaming import Examples, check_chunk_size, examples_on, map_examples, spread
from .._tree import as_partial, is_concrete

_VOXELS = 2**20  # of a default batch of windows


def sliding_window(
    apply: Callable,
    volume: Num[Array, "D H W *C"] | Num[np.ndarray, "D H W *C"],
    window: int = 64,
    stride: int = 32,
    *,
    padding: Literal["zero", "reflect"] = "zero",
    batch_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> Any:
    """Applies a network to a volume by overlapping windows and keeps the middle of each.

    Every axis is padded at its end to a multiple of the stride s, and then by (w − s)/2 on both
    sides. Window (k, j, i) of side w begins at s·(k, j, i) there; the network sees it alone, and
    the central s³ voxels of its output become those of the result that begin at s·(k, j, i). So
    each voxel is predicted once, with at least (w − s)/2 voxels around it.

    A JAX array is worked on where it lies, in one compiled program that maps over batches of
    windows; it may be a tracer, as may be what `apply` holds. A NumPy array, of any size or mapped
    from a file, stays on the host: the device gets the slices of as many layers of windows as fill
    a batch, in the dtype they have, and works on the next while the result of the one before is
    fetched.

    Args:
      apply: function of windows (N, w, w, w) of floating numbers to outputs of the same shape.
        Integers come as floating numbers, not scaled. A `jax.tree_util.Partial` of a function and
        parameters compiles nothing anew for other parameters.
      volume: (D, H, W), with trailing axes of channels where `apply` takes such; its outputs may
        have other ones.
      window: side w of a window, voxels.
      stride: s, the distance of windows, voxels; w − s must be even.
      padding: what lies outside the volume, "zero" or "reflect", the volume mirrored at the middle
        of its outermost voxels, first at the ends and then, with what this adds, on both sides.
      batch_size: largest number of windows at once; None takes about a million voxels.
      sharding: how to distribute the windows over devices, a `NamedSharding` whose first axis names
        the mesh axis or axes to use. Each device gets all of a JAX array, and works on a batch of
        its own windows at a time; of a NumPy array the layers that fill a batch for each. None
        keeps to one device.

    Returns:
      (D, H, W) of the outputs' dtype, or with their channels; NumPy for NumPy, else an array on
      one device.

    Raises:
      ValueError: if the volume has less than three axes or no voxels, window and stride don't fit
        each other, padding is neither, `apply` changes the shape, or a sharding names no mesh axis
        or is given inside of a transformation.

    References:
      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018 (windows of 64 voxels, zeros around them)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.tree_util import Partial
      >>> import jaxnoise as jn
      >>> apply = Partial(lambda scale, windows: scale * windows, jnp.float32(2))
      >>> jn.volumes.sliding_window(apply, jnp.ones((3, 5, 9)), window=4, stride=2).sum()
      Array(270., dtype=float32)
    """
    apply = as_partial(apply)
    check_numbers(volume, "volume")
    if not isinstance(volume, jax.Array):
        volume = np.asarray(volume) if is_concrete(apply) else jnp.asarray(volume)
    _check(volume.shape, window, stride, padding)
    check_chunk_size(batch_size, "batch_size")
    sharding = leading(sharding, "windows")
    batch_size = batch_size or max(1, _VOXELS // window**3)
    depth = len(volume)
    rows = _padded(depth, window, stride, padding)
    layers, *per_layer = (math.ceil(length / stride) for length in volume.shape[:3])
    at_once = layers
    if not isinstance(volume, jax.Array):
        shares = 1 if sharding is None else num_shards(sharding)
        at_once = min(layers, math.ceil(shares * batch_size / math.prod(per_layer)))
    if sharding is not None:
        check_outside(apply, volume)
        apply = put_everywhere(apply, sharding)
    corners = stride * np.indices((at_once, *per_layer)).reshape(3, -1).T
    windows = examples_on(corners, sharding)
    predict = functools.partial(
        _predict,
        apply,
        windows,
        window=window,
        stride=stride,
        padding=padding,
        batch_size=batch_size,
    )
    if not isinstance(volume, jax.Array):
        return _stream(predict, volume, rows, layers, at_once, window, stride)
    if sharding is None:
        return predict(volume, rows)[:depth]
    return gather(predict(put_everywhere(volume, sharding), rows)[:depth])


def _stream(
    predict: Callable,
    volume: np.ndarray,
    rows: np.ndarray,
    layers: int,
    at_once: int,
    window: int,
    stride: int,
) -> np.ndarray:
    """Predicts some layers of windows at once, always as many, so the last call reaches back."""
    starts = [min(layer, layers - at_once) for layer in range(0, layers, at_once)]

    def part(start: int) -> Array:
        needed = rows[stride * start : stride * (start + at_once - 1) + window]
        slices = np.take(volume, needed, axis=0, mode="clip")
        here = np.arange(len(needed))
        return predict(slices, np.where(needed < len(volume), here, len(needed)))

    ahead = part(starts[0])
    result = np.empty((len(volume), *ahead.shape[1:]), ahead.dtype)
    with Progress(layers, "sliding window", "layers", delay=2.0) as progress:
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            done, ahead = ahead, None if following is None else part(following)
            block = result[stride * start : stride * (start + at_once)]
            block[...] = np.asarray(done)[: len(block)]
            progress.update(at_once)
    return result


@functools.partial(jax.jit, static_argnames=("window", "stride", "padding", "batch_size"))
def _predict(
    apply: Callable,
    windows: Examples,
    slices: Array,
    rows: Array,
    *,
    window: int,
    stride: int,
    padding: str,
    batch_size: int,
) -> Array:
    """Outputs for windows, given by their corners, of the padded volume.

    `slices` holds the volume's slices, and `rows` says which of them the padded volume shows.
    """
    height, width, *channels = slices.shape[1:]
    columns = [_padded(length, window, stride, padding) for length in (height, width)]
    margin = (window - stride) // 2
    middle = slice(margin, margin + stride)

    def work(corners, counted, so_far, apply, padded, rows):
        del counted, so_far
        for axis, index in enumerate((rows, *columns)):
            padded = jnp.take(padded, index, axis, mode="fill", fill_value=0)

        def cut(corner: Array) -> Array:
            start = (*corner, *[0] * len(channels))
            return lax.dynamic_slice(padded, start, (*[window] * 3, *channels))

        def outputs(corners: Array) -> Array:
            seen = jax.vmap(cut)(corners)
            seen = seen.astype(jnp.result_type(seen.dtype, float))
            out = jnp.asarray(apply(seen))
            if out.shape[:4] != seen.shape[:4]:
                raise ValueError(
                    f"apply must keep the shape of its windows, got {out.shape} from {seen.shape}"
                )
            return out[:, middle, middle, middle]

        return map_examples(outputs, corners, batch_size), ()

    blocks, _ = spread(work, windows, None, apply, slices, rows)
    if windows.sharding is not None:
        blocks = put_everywhere(blocks, windows.sharding)[: windows.n]
    across = [math.ceil(length / stride) for length in (height, width)]
    counts = (windows.n // math.prod(across), *across)
    others = blocks.shape[4:]
    blocks = blocks.reshape(*counts, *[stride] * 3, *others)
    blocks = blocks.transpose(0, 3, 1, 4, 2, 5, *range(6, blocks.ndim))
    whole = blocks.reshape(*(stride * count for count in counts), *others)
    return whole[:, :height, :width]


def _padded(length: int, window: int, stride: int, padding: str) -> np.ndarray:
    """Which voxel of an axis each of the padded axis shows; `length`, one beyond, is a zero."""
    index, margin = np.arange(length), (window - stride) // 2
    for width in ((0, -length % stride), (margin, margin)):
        if padding == "reflect":
            index = np.pad(index, width, mode="reflect")
        else:
            index = np.pad(index, width, constant_values=length)
    return index


def _check(shape: tuple[int, ...], window: int, stride: int, padding: str) -> None:
    if len(shape) < 3 or 0 in shape:
        raise ValueError(f"volume must be (D, H, W) with voxels, or have channels besides: {shape}")
    check_whole(window, "window")
    check_whole(stride, "stride")
    if not 1 <= stride <= window or (window - stride) % 2:
        raise ValueError(
            f"stride must lie in 1…window and differ from it by an even number, got {stride} with "
            f"window {window}"
        )
    if padding not in ("zero", "reflect"):
        raise ValueError(f'padding must be "zero" or "reflect", got {padding!r}')
