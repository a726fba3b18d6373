"""How well nuclei are found, and how well synthetic microscopy keeps to its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import jaxnoise as jn

from ._baselines import otsu
from ._config import Plan
from ._files import read_all
from ._segment import nuclei_in
from ._variants import gans_of

METRICS = {
    "accuracy": "accuracy",
    "type_1": "Type-I",
    "type_2": "Type-II",
    "dice": "Dice",
    "f1": "object F1",
}


def scores(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy, both errors and Dice of the voxels, F1 of objects that overlap by half.

    Args:
      labels: (D, H, W) integers, the nuclei found, 0 in the background.
      truth: likewise, the nuclei there are.
    """
    voxels = jn.metrics.voxel_errors(labels, truth.astype(np.int32))
    found = {name: float(getattr(voxels, name)) for name in ("accuracy", "type_1", "type_2")}
    overlap = float(voxels.dice)
    f1 = float(jn.metrics.object_scores(labels, truth).f1)
    return found | {"dice": overlap, "f1": f1}


def mean_scores(
    probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray], min_size: int
) -> dict[str, float]:
    """Means over volumes of `scores`, after the removal of components below `min_size` voxels."""
    each = [
        scores(nuclei_in(probability, min_size), truth)
        for probability, truth in zip(probabilities, truths, strict=True)
    ]
    return {name: float(np.mean([one[name] for one in each])) for name in METRICS}


def overlap(image: np.ndarray, labels: np.ndarray) -> float:
    """Dice coefficient of what is bright in synthetic microscopy and what should be.

    Nuclei that a generator moved, left out or made up lower it, and so does blur.
    """
    return float(jn.metrics.voxel_errors(otsu(image), labels > 0).dice)


def scored(
    folder: Path, truths: Sequence[np.ndarray], seeds: Sequence[int], min_size: int
) -> dict[str, dict[str, list[float]]]:
    """Scores of one method: {"cleaned", "raw"} → metric → one for each seed.

    Args:
      folder: holds what it segmented, seed<k>/probability_….tif.
      truths: labels of the same volumes.
      seeds: which there are.
      min_size: components below it are missing from "cleaned".
    """
    sizes = {"cleaned": min_size, "raw": 1}
    row: dict[str, dict[str, list[float]]] = {
        kind: {metric: [] for metric in METRICS} for kind in sizes
    }
    for seed in seeds:
        probabilities = read_all(folder / f"seed{seed}", "probability", "segment")
        for kind, size in sizes.items():
            for metric, value in mean_scores(probabilities, truths, size).items():
                row[kind][metric].append(value)
    return row


def overlaps(out: Path, plan: Plan) -> dict[str, list[float]]:
    """Source of synthetic microscopy → mean `overlap` over its volumes, one for each seed."""
    labels = read_all(out / "synthetic", "label", "synthesize")

    def mean(folder: Path) -> float:
        images = read_all(folder, "image")
        return float(np.mean([overlap(*pair) for pair in zip(images, labels, strict=True)]))

    found = {"rendered": [mean(out / "synthetic")]}
    for method in gans_of(plan.unet.variants):
        folders = [out / "generated" / method / f"seed{seed}" for seed in range(plan.seeds)]
        if all(folder.is_dir() for folder in folders):
            found[method] = [mean(folder) for folder in folders]
    return found
