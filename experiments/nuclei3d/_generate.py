"""Synthetic microscopy made of drawn nuclei by a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn

from ._config import GanPlan, Plan
from ._players import network
from ._weights import load_weights

_PIXELS = 2**18  # of the slices that are mapped at once

Volumes = list[np.ndarray]


def generate(plan: Plan, folder: Path, seed: int, labels: Sequence[np.ndarray]) -> Volumes:
    """The microscopy volumes of label volumes by the generator in <folder>/seed<k>.npz.

    Args:
      plan: of the run that trained it.
      folder: of the method, gan/spcyclegan or gan/cyclegan.
      seed: which of its runs.
      labels: (D, H, W) each, nonzero in nuclei.

    Returns:
      (D, H, W) each, uint8.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it holds another network.
    """
    params, state, apply = network(plan.gan, False, jax.random.key(0))
    own = load_weights(folder / f"seed{seed}.npz", {"params": params, "state": state})
    own = jax.tree.map(jnp.asarray, own)
    make = generator(apply, own["params"], own["state"])
    return [microscopy(make, label, plan.gan) for label in labels]


def generator(apply: Any, params: Any, model_state: Any) -> Partial:
    """A network as a function of masks (N, …), 0 and 1, to gray levels (N, …) from 0 to 255."""
    return Partial(_gray_levels, apply, params, model_state)


def microscopy(make: Partial, label: np.ndarray, plan: GanPlan) -> np.ndarray:
    """What a generator makes of one label volume, slice by slice or by overlapping blocks.

    Blocks have the side of those that it was trained on and overlap by half.

    Args:
      make: as `generator` gives it.
      label: (D, H, W), nonzero in nuclei.
      plan: its dimensions and the side of a block.

    Returns:
      (D, H, W) uint8.
    """
    mask = (label > 0).astype(np.uint8)
    if plan.ndim == 3:
        image = jn.volumes.sliding_window(make, mask, plan.crop, plan.crop // 2, padding="reflect")
        return np.rint(np.asarray(image)).astype(np.uint8)
    height, width = mask.shape[1:]
    margins = [(0, max(8, side + -side % 4) - side) for side in (height, width)]
    full = np.pad(mask, [(0, 0), *margins], mode="symmetric")
    image = _slices(make, full, max(1, _PIXELS // full[0].size))
    return np.asarray(image)[:, :height, :width]


def _gray_levels(apply: Any, params: Any, model_state: Any, masks: jax.Array) -> jax.Array:
    image, _ = apply(params, model_state, 2 * masks[..., None].astype(jnp.float32) - 1, None)
    return 127.5 * (image[..., 0] + 1)


@jax.jit(static_argnames="batch_size")
def _slices(make: Any, masks: jax.Array, batch_size: int) -> jax.Array:
    def one(mask):
        return jnp.round(make(mask[None])[0]).astype(jnp.uint8)

    return jax.lax.map(one, masks, batch_size=batch_size)
