"""Synthetic fluorescence micrographs of nuclei, with the voxels of each nucleus."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from .._checks import check_count, check_key
from ..volumes import random_ellipsoids, render


def nuclei(
    key: Key[Array, ""],
    num: int,
    shape: tuple[int, int, int] = (64, 64, 64),
    *,
    semi_axes: Sequence[int] = (4, 5),
    num_nuclei: int | None = None,
    **look: Any,
) -> dict[str, Array]:
    """Draws volumes of nuclei as a fluorescence microscope shows them.

    Each volume is filled by `volumes.random_ellipsoids` and drawn by `volumes.render`.

    Args:
      key: typed key; one key gives the same volumes each time.
      num: number N of volumes.
      shape: (D, H, W) of each, voxels.
      semi_axes: what lengths the nuclei's semi-axes are drawn from, voxels.
      num_nuclei: nuclei in each; None takes as many as make up a tenth of the volume.
      **look: arguments of `volumes.render`, such as `photons`.

    Returns:
      {"image": (N, D, H, W, 1) uint8, "label": (N, D, H, W) int32}, label 0 in the background and
      1, 2, … in the nuclei.

    Raises:
      ValueError: if num is below 1 or an argument doesn't suit the functions above.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> drawn = jn.data.nuclei(jax.random.key(0), 2, (16, 24, 24))
      >>> drawn["image"].shape, int((drawn["label"] > 0).any((1, 2, 3)).sum())
      ((2, 16, 24, 24, 1), 2)
    """
    check_key(key)
    check_count(num, "num")
    fill = functools.partial(random_ellipsoids, shape=shape, semi_axes=semi_axes, num=num_nuclei)

    def draw(key: Key[Array, ""]) -> dict[str, Array]:
        shape_key, image_key = jax.random.split(key)
        label = fill(shape_key)
        return {"image": render(image_key, label, **look)[..., None], "label": label}

    volumes = [draw(key) for key in jax.random.split(key, num)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *volumes)
