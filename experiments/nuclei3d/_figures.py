"""Pictures of volumes, segmentations and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxnoise as jn

from ._baselines import BASELINE_TITLES
from ._compare import reference_of, title_of
from ._config import Plan
from ._files import read_all
from ._variants import GANS, gans_of

_SLICES = 4
_TRUTH, _FOUND = "tab:green", "tab:orange"


def domains(out: Path, plan: Plan) -> Figure:
    """Slices of drawn nuclei, of synthetic microscopy made of them, and of the microscope's."""
    labels = read_all(out / "synthetic", "label", "synthesize")[0]
    rows = {
        "drawn nuclei": jn.volumes.color_labels(labels),
        "rendered": read_all(out / "synthetic", "image", "synthesize")[0],
    }
    for method in gans_of(plan.unet.variants):
        if images := read_all(out / "generated" / method / "seed0", "image"):
            rows[GANS[method]] = images[0]
    rows["microscope"] = read_all(out / "microscope" / "train", "image", "synthesize")[0]
    figure = Figure(figsize=(8, 2.1 * len(rows)), layout="constrained")
    for ax, (title, volume) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        gray = volume.ndim == 3
        outlines = labels if gray and title != "microscope" else None
        limits: dict[str, Any] = {"vmin": 0, "vmax": 255} if gray else {}
        jn.plotting.volume_slices(volume, ax, slices=_SLICES, outlines=outlines, **limits)
        ax.set_title(title, fontsize="small")
    return figure


def segmentations(out: Path, rows: list[str], number: int) -> Figure:
    """A volume of the microscope with the outlines of its nuclei, from three sides and in slices.

    Args:
      out: folder of the run.
      rows: methods to show, of seed 0.
      number: which of the test volumes.
    """
    image = read_all(out / "microscope" / "test", "image", "synthesize")[number]
    truth = read_all(out / "microscope" / "test", "label")
    shown: list[tuple[str, Any, str]] = []
    if truth:
        shown.append(("ground truth", truth[number], _TRUTH))
    for name in rows:
        found = read_all(out / "segmented" / name / "seed0", "label", "segment")
        shown.append((title_of(name), found[number], _FOUND))
    figure = Figure(figsize=(12, 2.6 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 3, squeeze=False, width_ratios=[1, 1, 2.4])
    for (left, middle, right), (title, labels, color) in zip(axes, shown, strict=True):
        jn.plotting.volume_projection(jn.volumes.color_labels(labels), left)
        left.set_title(f"{title}: {len(np.unique(labels)) - 1} nuclei", fontsize="small")
        options: dict[str, Any] = {"outlines": labels, "color": color, "vmin": 0, "vmax": 255}
        jn.plotting.volume_projection(image, middle, **options)
        jn.plotting.volume_slices(image, right, slices=_SLICES, **options)
    return figure


def shown_methods(rows: list[str]) -> list[str]:
    """What fits a picture: the method, one rendered and one learnt from the truth, Otsu."""
    first = reference_of(dict.fromkeys(rows))
    wanted = dict.fromkeys([first, "rendered", "truth", next(iter(BASELINE_TITLES))])
    return [name for name in wanted if name in rows]


def draw_scores(rows: dict[str, Any], metric: str, ax: Axes) -> None:
    """A metric of every method after post-processing, a dot for each seed, a line at the mean."""
    for place, row in enumerate(rows.values()):
        values = np.array(row["cleaned"][metric], float)
        ax.plot(values, np.full(len(values), place), "o", alpha=0.6)
        ax.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color="black")
    ax.set_yticks(range(len(rows)), [title_of(name) for name in rows], fontsize="small")
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)


def draw_curves(runs: dict[str, list[dict[str, Any]]], ax: Axes) -> None:
    """Dice of the training blocks by epoch, the mean over the seeds."""
    for name, of_seeds in runs.items():
        values = np.mean([run["curves"]["dice"] for run in of_seeds], axis=0)
        ax.plot(np.arange(1, len(values) + 1), values, label=title_of(name))
    ax.set(xlabel="epoch", ylabel="Dice of the training blocks")
    ax.legend(fontsize="x-small")
