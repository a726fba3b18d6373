"""Volumes segmented by a trained network: windows, threshold, components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn

from ._config import UnetPlan
from ._microscope import enlarged, shrunk
from ._unet import start
from ._variants import VARIANTS
from ._weights import load_weights


def segmenter(plan: UnetPlan, name: str, path: Path) -> Partial:
    """A variant's trained network as a function of windows (N, w, w, w) of gray levels."""
    params, model_state, train_loss = start(0, VARIANTS[name].network, plan.width)
    tree = load_weights(path, {"params": params, "state": model_state})
    tree = jax.tree.map(jnp.asarray, tree)
    return Partial(_probabilities, train_loss.apply, tree["params"], tree["state"])


def probability(network: Partial, volume: np.ndarray, block: int, shrink: int) -> np.ndarray:
    """The probability that each voxel belongs to a nucleus, uint8, 255 for one.

    Args:
      network: function of windows.
      volume: (D, H, W) uint8.
      block: side of the windows, which overlap by half.
      shrink: side of the cubes of voxels that the network sees as one.
    """
    small = shrunk([volume], shrink)[0]
    found = jn.volumes.sliding_window(network, small, block, block // 2, padding="reflect")
    return np.rint(255 * enlarged(np.asarray(found), shrink, volume.shape)).astype(np.uint8)


def nuclei_in(probabilities: np.ndarray, min_size: int) -> np.ndarray:
    """Numbers the components of voxels above one half, (D, H, W) int32, without the small ones."""
    mask = jn.volumes.remove_small_components(probabilities > 127, min_size)
    return jn.volumes.label_components(mask)


def _probabilities(apply: Any, params: Any, model_state: Any, windows: jax.Array) -> jax.Array:
    outputs, _ = apply(params, model_state, windows[..., None] / 255, None)
    return outputs[..., 0]
