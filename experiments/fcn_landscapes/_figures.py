"""Pictures of the results, each with its caption."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

import jaxnoise as jn
from jaxnoise.landscape import LossGrid

from ._config import Task
from ._problem import Problem

Captioned = tuple[Figure, str]


def examples(problem: Problem, task: Task, outputs: dict[str, np.ndarray]) -> Captioned:
    """Test images, what is wanted, and every network's outputs (n, H, W, K) of seed 0."""
    test = problem.images["test"]
    columns = {
        "image": test["image"],
        "wanted": test["target"],
        **{name: np.clip(255 * x, 0, 255).astype(np.uint8) for name, x in outputs.items()},
    }
    num = len(next(iter(outputs.values())))
    figure = Figure(figsize=(2.2 * len(columns), 2.2 * num + 0.3), layout="constrained")
    axes = figure.subplots(num, len(columns), squeeze=False)
    for column, (title, stack) in zip(axes.T, columns.items(), strict=True):
        for ax, picture in zip(column, stack, strict=False):
            gray = picture.shape[-1] == 1
            ax.imshow(picture[..., 0] if gray else picture, cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
        column[0].set_title(title, fontsize="small")
    return figure, f"{task.data}: test images and the outputs of the networks, seed 0."


def landscapes(
    name: str, grids: dict[str, dict[str, LossGrid]], radius: float
) -> dict[str, Captioned]:
    """Normalisation → all landscapes side by side at equal scale."""
    words = {
        "filter_unit": "filters of the directions have unit norm",
        "filter": "filters of the directions have the norm of the network's own",
    }
    figures = {}
    for kind, of_kind in grids.items():
        figure = Figure(figsize=(4.2 * len(of_kind), 7.5), layout="constrained")
        jn.plotting.landscapes(of_kind, figure)
        figures[f"{name}_{kind}"] = (
            figure,
            f"One seed at equal training loss, over two random directions, r = {radius:g}; "
            f"{words[kind]}. Equal scale; the highest 2 % of the values are cut off.",
        )
    return figures


def trajectories(paths: dict[str, tuple[Any, LossGrid]]) -> Captioned:
    """Each training's path over the plane that it lies closest to."""
    figure = Figure(figsize=(5 * max(1, len(paths)), 4.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, max(1, len(paths))))
    for ax, (title, (plane, grid)) in zip(axes, paths.items(), strict=False):
        low, high = np.nanmin(grid.values), np.nanquantile(grid.values, 0.9)
        jn.plotting.contour(grid, ax, vmin=float(low), vmax=float(high)).set_aspect("auto")
        jn.plotting.trajectory(plane, ax)
        share = 100 * plane.explained_variance
        ax.set_title(f"{title}: {share[0]:.0f} % and {share[1]:.0f} % of the path")
    return figure, (
        "Snapshots of seed 0 from the first on, at the larger batch size, in the plane of their "
        "two leading principal components around the last."
    )


def curves(rows: dict[str, dict[str, Any]]) -> Figure:
    """Training and validation loss at the snapshots, mean and deviation over the seeds."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for ax, part in zip(figure.subplots(1, 2), ("train", "validation"), strict=True):
        for name, row in rows.items():
            losses = np.array(row[part], float)[:, 1:]
            mean, spread = losses.mean(0), losses.std(0)
            (drawn,) = ax.plot(row["epochs"][1:], mean, label=name)
            color = drawn.get_color()
            ax.fill_between(
                row["epochs"][1:], mean - spread, mean + spread, alpha=0.15, color=color
            )
        ax.set(xlabel="epoch", ylabel=f"{part} loss", yscale="log")
        ax.legend(fontsize="x-small")
    return figure
