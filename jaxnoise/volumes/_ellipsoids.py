"""Synthetic nuclei: ellipsoids of random size and direction that hardly overlap."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.spatial.transform import Rotation
from jaxtyping import Array, Bool, Float, Int, Key

from .._checks import check_count, check_key, check_numbers, check_whole, shown

_ROUNDING = 1e-5  # of a squared distance; voxels on the surface belong to the nucleus
_FILL = 0.104  # share of a volume that the default number of nuclei would have, were none cut


class Ellipsoid(NamedTuple):
    """The voxels at x with ‖A Rᵀ (x − centre)‖ ≤ 1, A the inverse semi-axes and R the rotation."""

    centre: Int[Array, " 3"]
    semi_axes: Float[Array, " 3"]
    rotation: Float[Array, "3 3"]


def random_ellipsoids(
    key: Key[Array, ""],
    shape: tuple[int, int, int],
    *,
    semi_axes: Sequence[int] = (4, 5),
    num: int | None = None,
    max_overlap: int = 5,
    max_rejections: int = 1000,
) -> Int[Array, "D H W"]:
    """Fills a volume with ellipsoids at random: the synthetic nuclei of a training set.

    One candidate after another has a centre uniform among the voxels, so that it may be cut by the
    border, three semi-axes drawn independently from `semi_axes`, and a uniform rotation. It is
    placed if at most `max_overlap` of its voxels are taken, and not all. Those taken stay with the
    nucleus that was there first. So it goes on until there are `num`, or `max_rejections`
    candidates in a row found no place.

    Like this, 128³ voxels have the statistics of the authors' volumes with 570 nuclei of semi-axes
    4 and 5, a tenth of the voxels, or with 92 of 9, 10 and 11, a sixth. Components of the mask are
    fewer, since nuclei touch.

    One compiled program; only the shape and the semi-axes are fixed in it. Under `jax.vmap` every
    step copies all volumes: draw several with `jax.lax.map` over keys.

    Args:
      key: typed key; one key gives the same volume each time.
      shape: (D, H, W), voxels.
      semi_axes: what lengths the semi-axes are drawn from, voxels.
      num: number of nuclei; None takes as many as in the former of these volumes by the volume of
        nuclei, a tenth of the voxels.
      max_overlap: voxels that a nucleus may share with those before it.
      max_rejections: number of candidates that in a row must find no place before that ends it.

    Returns:
      int32 labels: 0 in the background, 1, 2, … in the order in which nuclei were placed. The
      largest is less than `num` where the volume was full before.

    Raises:
      ValueError: if a length, a size or a number is out of bounds.

    References:
      Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
      Synthesis and Segmentation", 2018 (synthetic binary volumes)

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> labels = jn.volumes.random_ellipsoids(jax.random.key(0), (24, 32, 32), num=12)
      >>> labels.shape, int(labels.max())
      ((24, 32, 32), 12)
    """
    check_key(key)
    _check(shape, semi_axes, num, max_overlap, max_rejections)
    if num is None:
        volume = 4 / 3 * math.pi * np.mean(semi_axes) ** 3
        num = max(1, round(_FILL * math.prod(shape) / volume))
    limits = (num, max_overlap, max_rejections)
    return _fill(key, limits, shape=tuple(shape), semi_axes=tuple(map(float, semi_axes)))


@functools.partial(jax.jit, static_argnames=("shape", "semi_axes"))
def _fill(
    key: Key[Array, ""],
    limits: tuple[int, int, int],
    *,
    shape: tuple[int, ...],
    semi_axes: tuple[float, ...],
) -> Int[Array, "D H W"]:
    """A volume with a margin, so that every nucleus lies in a box around its centre."""
    num, max_overlap, max_rejections = limits
    reach = math.ceil(max(semi_axes))
    offsets = jnp.asarray(box_offsets(reach))

    def goes_on(state: tuple[Array, ...]) -> Array:
        _, placed, rejected, _ = state
        return (placed < num) & (rejected < max_rejections)

    def try_next(state: tuple[Array, ...]) -> tuple[Array, ...]:
        labels, placed, rejected, index = state
        nucleus = candidate(jax.random.fold_in(key, index), shape, semi_axes)
        box = lax.dynamic_slice(labels, nucleus.centre, offsets.shape[:3])
        place = nucleus.centre + offsets
        in_volume = jnp.all((place >= 0) & (place < jnp.array(shape)), axis=-1)
        inside = is_inside(nucleus, offsets) & in_volume
        free = inside & (box == 0)
        fits = (jnp.sum(inside & ~free) <= max_overlap) & jnp.any(free)
        box = jnp.where(fits & free, placed + 1, box)
        labels = lax.dynamic_update_slice(labels, box, nucleus.centre)
        return labels, placed + fits, jnp.where(fits, 0, rejected + 1), index + 1

    zero = jnp.zeros((), jnp.int32)
    empty = jnp.zeros([length + 2 * reach for length in shape], jnp.int32)
    labels, *_ = lax.while_loop(goes_on, try_next, (empty, zero, zero, zero))
    return labels[tuple(slice(reach, reach + length) for length in shape)]


def candidate(
    key: Key[Array, ""], shape: tuple[int, ...], semi_axes: tuple[float, ...]
) -> Ellipsoid:
    """An ellipsoid drawn for a volume of this shape."""
    centre_key, axes_key, rotation_key = jax.random.split(key, 3)
    return Ellipsoid(
        centre=jax.random.randint(centre_key, (3,), 0, jnp.array(shape)),
        semi_axes=jax.random.choice(axes_key, jnp.array(semi_axes), (3,)),
        rotation=Rotation.from_quat(jax.random.normal(rotation_key, (4,))).as_matrix(),
    )


def box_offsets(reach: int) -> Int[np.ndarray, "L L L 3"]:
    """The places of a box's voxels relative to the one in its middle."""
    return np.moveaxis(np.indices((2 * reach + 1,) * 3), 0, -1) - reach


def is_inside(nucleus: Ellipsoid, offsets: Array) -> Bool[Array, "L L L"]:
    """Which of the voxels at these offsets from the centre belong to it."""
    along = jnp.einsum("...i,ij->...j", offsets, nucleus.rotation, precision="highest")
    return jnp.sum(jnp.square(along / nucleus.semi_axes), axis=-1) <= 1 + _ROUNDING


def _check(
    shape: tuple[int, ...],
    semi_axes: Sequence[int],
    num: int | None,
    max_overlap: int,
    max_rejections: int,
) -> None:
    if np.ndim(shape) != 1 or len(shape) != 3:
        raise ValueError(f"shape must be the (D, H, W) of a volume, got {shown(shape)}")
    for length in shape:
        check_whole(length, "shape, the (D, H, W) of a volume,")
    if min(shape) < 1:
        raise ValueError(f"shape must be the (D, H, W) of a volume, got {shape}")
    check_numbers(semi_axes, "semi_axes")
    if np.ndim(semi_axes) != 1 or not len(semi_axes) or not np.all(np.asarray(semi_axes) > 0):
        raise ValueError(f"semi_axes must hold positive lengths, got {semi_axes}")
    for name, value, least in (
        ("num", num, 0),
        ("max_overlap", max_overlap, 0),
        ("max_rejections", max_rejections, 1),
    ):
        if value is not None:
            check_count(value, name, least)
