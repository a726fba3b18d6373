"""Volumes: slices side by side and projections along the three axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb

from .._checks import check_numbers, check_whole
from ._axes import axes_or_new

_GAP = 2  # voxels between pictures


def volume_slices(
    volume: ArrayLike,
    ax: Axes | None = None,
    *,
    slices: int | Sequence[int] = 4,
    axis: int = 0,
    outlines: ArrayLike | None = None,
    color: str = "tab:orange",
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "gray",
) -> Axes:
    """Draws slices of a volume side by side, with the outlines of objects where wanted.

    Args:
      volume: (D, H, W), or (D, H, W, 3) uint8 colours, such as `volumes.color_labels` gives.
      ax: axes to draw into; None makes a figure.
      slices: which slices to draw, or how many, evenly spaced.
      axis: 0, 1 or 2, the axis along which slices follow each other.
      outlines: (D, H, W) mask or labels; the outermost voxels of its objects are drawn in `color`.
      color: of the outlines.
      vmin, vmax: range of gray levels; give the same for volumes that are to be compared.
      cmap: name of a colour map.

    Returns:
      The axes.

    Raises:
      ValueError: if volume and outlines don't fit each other, or there are no such slices.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> volume = np.arange(4 * 5 * 6).reshape(4, 5, 6)
      >>> jn.plotting.volume_slices(volume, slices=[0, 3]).get_title()
      'slices 0, 3'
    """
    values, objects = _checked(volume, outlines)
    if axis not in (0, 1, 2):
        raise ValueError(f"axis must be 0, 1 or 2, got {axis!r}")
    for index in slices if isinstance(slices, Iterable) else [slices]:
        check_whole(index, "slices")
    length = values.shape[axis]
    if not isinstance(slices, Iterable):
        indices = [length * (2 * i + 1) // (2 * slices) for i in range(slices)]
    else:
        indices = [int(index) for index in slices]
    if not indices or not all(0 <= index < length for index in indices):
        raise ValueError(f"slices must lie in 0…{length - 1}, got {indices}")
    scale = _scale(values, vmin, vmax, cmap)
    pictures = []
    for index in indices:
        picture = scale(np.take(values, index, axis))
        if objects is not None:
            picture = _outlined(picture, np.take(objects, index, axis), color)
        pictures += [picture, np.ones((len(picture), _GAP, 3))]
    ax = _shown(np.concatenate(pictures[:-1], axis=1), ax)
    ax.set_title("slices " + ", ".join(map(str, indices)))
    return ax


def volume_projection(
    volume: ArrayLike,
    ax: Axes | None = None,
    *,
    outlines: ArrayLike | None = None,
    color: str = "tab:orange",
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "gray",
) -> Axes:
    """Draws a volume as seen from three sides: the maxima along its axes.

    On the left, above, rows over columns (maximum over slices); on the right of it rows over
    slices; below it slices over columns, so that pictures beside each other share an axis. Of
    colours, which have no maximum, the first that isn't black is seen.

    Args:
      volume: (D, H, W), or (D, H, W, 3) uint8 colours, such as `volumes.color_labels` gives.
      ax: axes to draw into; None makes a figure.
      outlines: (D, H, W) mask or labels; the outlines of its projections are drawn in `color`.
      color: of the outlines.
      vmin, vmax: range of gray levels; give the same for volumes that are to be compared.
      cmap: name of a colour map.

    Returns:
      The axes.

    Raises:
      ValueError: if volume and outlines don't fit each other.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> ax = jn.plotting.volume_projection(np.arange(4 * 5 * 6).reshape(4, 5, 6))
      >>> ax.images[0].get_array().shape
      (11, 12, 3)
    """
    values, objects = _checked(volume, outlines)
    scale = _scale(values, vmin, vmax, cmap)
    views = [scale(_seen(values, axis)) for axis in range(3)]
    if objects is not None:
        views = [_outlined(view, (objects != 0).any(i), color) for i, view in enumerate(views)]
    depth, height, width = values.shape[:3]
    whole = np.ones((height + _GAP + depth, width + _GAP + depth, 3))
    whole[:height, :width] = views[0]
    whole[height + _GAP :, :width] = views[1]
    whole[:height, width + _GAP :] = views[2].swapaxes(0, 1)
    return _shown(whole, ax)


def _checked(volume: ArrayLike, outlines: ArrayLike | None) -> tuple[np.ndarray, Any]:
    check_numbers(volume, "volume")
    values = np.asarray(volume)
    if not (values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3)) or not values.size:
        raise ValueError(f"volume must be (D, H, W), or (D, H, W, 3) in colours: {values.shape}")
    if outlines is None:
        return values, None
    objects = np.asarray(outlines)
    if objects.shape != values.shape[:3]:
        raise ValueError(
            f"outlines must have the volume's shape {values.shape[:3]}, got {objects.shape}"
        )
    return values, objects


def _scale(
    values: np.ndarray, vmin: float | None, vmax: float | None, cmap: str
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives slices of the volume in red, green and blue within 0…1."""
    if values.ndim == 4:
        return lambda picture: picture / 255
    low, high = values.min() if vmin is None else vmin, values.max() if vmax is None else vmax
    colors = ScalarMappable(Normalize(low, high), cmap)
    return lambda picture: colors.to_rgba(picture)[..., :3]


def _outlined(picture: np.ndarray, objects: np.ndarray, color: str) -> np.ndarray:
    """The picture with the outermost pixels of the objects in this colour."""
    is_edge = np.zeros(objects.shape, bool)
    for axis in (0, 1):
        lower, upper = (np.moveaxis(is_edge, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        differs = np.moveaxis(np.diff(objects.astype(np.int64), axis=axis) != 0, axis, 0)
        lower |= differs
        upper |= differs
    return np.where((is_edge & (objects != 0))[..., None], to_rgb(color), picture)


def _seen(values: np.ndarray, axis: int) -> np.ndarray:
    """The volume projected along an axis."""
    if values.ndim == 3:
        return values.max(axis)
    first = np.expand_dims(values.any(-1).argmax(axis), (axis, 3))
    return np.take_along_axis(values, first, axis).squeeze(axis)


def _shown(picture: np.ndarray, ax: Axes | None) -> Axes:
    ax = axes_or_new(ax)
    ax.imshow(picture, interpolation="nearest")
    ax.axis("off")
    return ax
