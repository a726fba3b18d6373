"""Figures of the report, put together from axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._common import draw_histories
from ._config import Plan
from ._figures import (
    draw_against_rates,
    draw_degrees,
    draw_noise,
    draw_schedules,
    draw_stages,
    in_colors_of_schedules,
)
from ._methods import METHODS, STARTS
from ._verdict import number


def methods_picture(cell: Any, plan: Plan) -> Figure:
    """δ, training loss and test accuracy; a line of axes for each comparison."""
    figure = Figure(figsize=(15, 4.5 * len(cell.methods)), layout="constrained")
    axes = figure.subplots(len(cell.methods), 3, squeeze=False)
    for line, (start, rows) in zip(axes, cell.methods.items(), strict=True):
        named = {METHODS[method]: row for method, row in rows.items()}
        draw_degrees(rows, line[0], edges_of(cell.task.epochs, plan), plan.decay)
        line[0].set_title(STARTS[start], fontsize="medium")
        draw_histories(named, line[1], "train", "loss")
        draw_histories(named, line[2], "test", "accuracy")
        zoomed(line[2], rows)
    return figure


def edges_of(epochs: int, plan: Plan) -> np.ndarray:
    """The epochs between which the stages lie."""
    return np.linspace(0, epochs, plan.stages + 1)


def stages_figure(rows: dict[str, Any], edges: np.ndarray) -> Figure:
    """Learning rate, batch size and C by epoch; loss and accuracy by gradient query and step."""
    figure = Figure(figsize=(15, 9), layout="constrained")
    axes = figure.subplots(2, 3)
    named = {METHODS[method]: row for method, row in rows.items()}
    draw_stages(rows, axes[0, 0], edges, "learning_rates")
    draw_stages(rows, axes[0, 1], edges, "batch_sizes")
    draw_noise(rows, axes[0, 2], edges)
    draw_histories(named, axes[1, 0], "train", "loss", "gradient_queries")
    draw_histories(named, axes[1, 1], "test", "accuracy", "gradient_queries")
    zoomed(axes[1, 1], rows)
    draw_histories(named, axes[1, 2], "train", "loss", "steps")
    axes[1, 2].set_xscale("log")
    return figure


def schedules_picture(cell: Any, peak: float) -> Figure:
    """Schedules, decay rates, training loss and test accuracy."""
    figure = Figure(figsize=(15, 10), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_schedules(peak, cell.task.epochs, axes[0, 0], axes[0, 1])
    draw_histories(cell.schedules, axes[1, 0], "train", "loss")
    draw_histories(cell.schedules, axes[1, 1], "test", "accuracy")
    zoomed(axes[1, 1], cell.schedules)
    for ax in axes[1]:
        in_colors_of_schedules(ax)
    for ax in axes.flat:
        ax.get_legend().remove()
    figure.legend(axes[0, 0].lines, list(cell.schedules), loc="outside right upper")
    return figure


def rates_picture(cell: Any) -> Figure:
    """Training loss and test accuracy against Σ η, of all that was trained."""
    groups = {
        f"stages: {STARTS[start]}": {number(method): row for method, row in rows.items()}
        for start, rows in cell.methods.items()
    }
    if cell.schedules:
        groups["schedules by epoch"] = cell.schedules
    figure = Figure(figsize=(15, 5.5), layout="constrained")
    for ax, metric in zip(figure.subplots(1, 2), ("train_loss", "test_accuracy"), strict=True):
        draw_against_rates(groups, ax, metric)
    return figure


def zoomed(ax: Axes, rows: dict[str, Any]) -> None:
    """Shows the accuracies of the second half of training, as far as they are typical."""
    found = [np.asarray(row["test_accuracy"], float) for row in rows.values()]
    late = [curves[:, curves.shape[1] // 2 :] for curves in found if curves.size]
    if late:
        low, high = min(map(np.median, late)), max(map(np.max, late))
        ax.set_ylim(1.5 * low - 0.5 * high - 1e-3, 1.1 * high - 0.1 * low + 1e-3)
