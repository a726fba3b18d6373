"""Pictures of the results."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ._methods import METHODS
from ._problem import Problem
from ._translate import CURVES


def grid(
    problems: dict[str, Problem], images: dict[str, dict[str, np.ndarray]], num: int
) -> Figure:
    """Label map, real image and every optimizer's output (seed 0) for test images.

    Args:
      problems: data → pairs.
      images: data → method → (seeds, n, H, W, C).
      num: test images of each data set.
    """
    titles = ["label map", "real", *METHODS.values()]
    rows = [
        (data, i) for data, p in problems.items() for i in range(min(num, len(p.test["label"])))
    ]
    figure = Figure(figsize=(1.6 * len(titles), 1.6 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, (data, i) in zip(axes, rows, strict=True):
        problem = problems[data]
        shown = [coloured(problem, i), problem.test["image"][i]]
        shown += [images[data][method][0, i] for method in METHODS]
        for ax, picture in zip(line, shown, strict=True):
            gray = picture.shape[-1] == 1
            ax.imshow(picture[..., 0] if gray else picture, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize="small")
    return figure


def coloured(problem: Problem, i: int) -> np.ndarray:
    """A test label map in colours, (H, W, 3) uint8; black outside the mask."""
    colours = mpl.colormaps["tab20" if problem.num_classes > 10 else "tab10"]
    table = np.array([colours(c % colours.N)[:3] for c in range(problem.num_classes)])
    seen = problem.test["mask"][i][..., None] > 0
    return np.where(seen, 255 * table[problem.test["label"][i]], 0).astype(np.uint8)


def curves(rows: dict[str, Any]) -> Figure:
    """The players' losses by epoch, mean and deviation over the seeds."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for method, row in rows.items():
            if name in row["curves"]:
                values = np.array(row["curves"][name], float)
                epochs = np.arange(1, values.shape[1] + 1)
                mean, spread = values.mean(0), values.std(0)
                ax.plot(epochs, mean, label=METHODS[method])
                ax.fill_between(epochs, mean - spread, mean + spread, alpha=0.15)
        ax.set(xlabel="epoch", title=name)
        ax.legend(fontsize="x-small")
    return figure
