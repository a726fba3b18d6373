"""How well a network does on the test images."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

import jaxnoise as jn

from ._config import Task
from ._problem import Arrays
from ._train import Network

# Metrics by kind of task: name → title.
METRICS = {
    "membranes": {"v_rand": "V_Rand", "v_info": "V_Info", "accuracy": "pixel accuracy"},
    "vessels": {
        "v_rand": "V_Rand",
        "v_info": "V_Info",
        "accuracy": "pixel accuracy",
        "iou": "vessel and background IOU",
    },
    "raindrops": {"psnr": "PSNR, dB", "ssim": "SSIM"},
}


def predicted(network: Network, params: Any, task: Task, images: np.ndarray) -> np.ndarray:
    """A network's outputs (n, H, W, K) for whole images (n, H, W, C), patch by patch."""
    cut = jn.data.patches(images, task.size, task.overlap)
    outputs = np.asarray(_by_patch(network.apply, params, cut))
    return jn.data.assemble(outputs, images.shape[1:3], task.overlap)


@jax.jit
def _by_patch(apply, params, patches):
    def one(patch):
        return apply(params, patch[None])[0]

    return jax.lax.map(one, patches)


def scores(task: Task, outputs: np.ndarray, test: Arrays) -> dict[str, float]:
    """Every metric, mean over the test images.

    Cells and vessels are what V_Rand and V_Info compare; both are the best over thresholds
    0, 0.1, …, 1, as in the challenge. Accuracy and IOU are those at threshold 1/2 inside the mask.
    """
    outputs = np.clip(outputs, 0, 1)
    if task.kind == "raindrops":
        return image_scores(outputs, test["target"])
    label, mask = test["target"][..., 0] > 0, test["mask"]
    proposal = np.where(mask > 0, outputs[..., 0], 0)
    both = functools.cache(functools.partial(jn.metrics.boundary_scores, proposal, label))
    best = {
        name: jn.metrics.best_threshold(
            lambda *_, threshold, name=name: getattr(both(threshold=threshold), name),
            proposal,
            label,
        ).value
        for name in ("v_rand", "v_info")
    }
    pixels = jn.metrics.segmentation_scores(
        (outputs[..., 0] > 0.5).astype(int), label.astype(int), 2, mask
    )
    found = {**best, "accuracy": float(pixels.per_pixel), "iou": float(pixels.class_iou)}
    return {name: found[name] for name in METRICS[task.kind]}


def image_scores(images: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of images in [0, 1] with targets in 0…255."""
    reference = target.astype(np.float32) / 255
    return {
        "psnr": float(np.mean(jn.metrics.psnr(images, reference))),
        "ssim": float(np.mean(jn.metrics.ssim(images, reference))),
    }


def baseline(task: Task, test: Arrays) -> dict[str, float] | None:
    """The scores of the images as they are, where these are comparable."""
    if task.kind != "raindrops":
        return None
    return image_scores(test["image"].astype(np.float32) / 255, test["target"])
