"""Pictures of the results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

import jaxnoise as jn

from ._compare import NAMES
from ._critical import Columns

MARKERS = "osD^vP*X"
COLORS = colormaps["viridis"]


def draw_runs(columns: Columns, x: str, y: str, ax: Axes) -> None:
    """One quantity against another; colours for batch sizes, markers for learning rates.

    Runs that have learnt their training set are filled; those that diverged are left out.
    """
    sizes = columns["batch_size"]
    norm = LogNorm(sizes.min(), max(sizes.max(), 2 * sizes.min()))
    there = ~columns["diverged"] & np.isfinite(columns[x]) & np.isfinite(columns[y])
    for marker, rate in zip(_markers(columns), np.unique(columns["learning_rate"]), strict=True):
        for filled in (False, True):
            mine = there & (columns["learning_rate"] == rate) & (columns["learnt"] == filled)
            colors = COLORS(norm(sizes[mine])).tolist()
            ax.scatter(
                columns[x][mine],
                columns[y][mine],
                s=22,
                marker=marker,
                facecolors=colors if filled else "none",
                edgecolors=colors,
                linewidths=0.9,
            )
    ax.set(xlabel=NAMES[x], ylabel=NAMES[y], xscale="log")
    if y != "test_accuracy" and there.any():
        ax.set_yscale("log")
    if x in ("batch_size", "learning_rate") and there.any():
        ticks = np.unique(columns[x])
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize="x-small")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_visible(bool(there.any()))


def explain_runs(columns: Columns, figure: Figure, ax: Axes) -> None:
    """The legend of the learning rates in `ax`, and a bar of the batch sizes beside the figure."""
    handles = [
        Line2D([], [], linestyle="", marker=marker, color="0.3", label=f"η = {rate:g}")
        for marker, rate in zip(_markers(columns), np.unique(columns["learning_rate"]), strict=True)
    ]
    handles.append(
        Line2D([], [], linestyle="", marker="o", markerfacecolor="none", color="0.3",
               label="training set not learnt")
    )  # fmt: skip
    ax.legend(handles=handles, fontsize="x-small")
    sizes = np.unique(columns["batch_size"])
    norm = LogNorm(sizes.min(), max(sizes.max(), 2 * sizes.min()))
    bar = figure.colorbar(
        ScalarMappable(norm, COLORS), ax=figure.axes, ticks=sizes, shrink=0.6, pad=0.01
    )
    bar.ax.minorticks_off()
    bar.ax.set_yticklabels([f"{size:g}" for size in sizes])
    bar.set_label("batch size b")


def picture(columns: Columns) -> Figure:
    """Figure 9: sharpness against b, η, δ and training loss; accuracy against δ and sharpness."""
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    axes = figure.subplots(2, 3)
    pairs = [
        ("batch_size", "sharpness"), ("learning_rate", "sharpness"), ("delta_start", "sharpness"),
        ("delta_start", "test_accuracy"), ("sharpness", "test_accuracy"),
        ("train_loss", "sharpness"),
    ]  # fmt: skip
    for (x, y), ax in zip(pairs, axes.flat, strict=True):
        draw_runs(columns, x, y, ax)
    explain_runs(columns, figure, axes[0, 0])
    return figure


def other_picture(columns: Columns) -> Figure:
    """Adaptive sharpness against b, η and δ; sharpness and accuracy against the other δ."""
    figure = Figure(figsize=(12.5, 10.5), layout="constrained")
    axes = figure.subplots(3, 3)
    pairs = [
        ("batch_size", "adaptive_sharpness"), ("learning_rate", "adaptive_sharpness"),
        ("delta_start", "adaptive_sharpness"), ("delta_end", "sharpness"),
        ("delta_paper", "sharpness"), ("delta_end", "noise_std"), ("delta_end", "test_accuracy"),
        ("delta_paper", "test_accuracy"), ("adaptive_sharpness", "test_accuracy"),
    ]  # fmt: skip
    for (x, y), ax in zip(pairs, axes.flat, strict=True):
        draw_runs(columns, x, y, ax)
    explain_runs(columns, figure, axes[0, 0])
    return figure


def noise_picture(noise: dict[str, Any]) -> Figure:
    """Figure 8, at several points: coordinates of one ω, and ω of many batches along directions."""
    figure = Figure(figsize=(15, 3.6 * len(noise)), layout="constrained")
    axes = figure.subplots(len(noise), 4, squeeze=False)
    for (where, found), line in zip(noise.items(), axes, strict=True):
        sizes = found["sizes"]
        jn.plotting.noise_histogram(np.array(sizes[-1]["coordinates"]), line[0])
        jn.plotting.noise_histogram(np.array(sizes[-1]["projections"]), line[2])
        largest = f"b = {sizes[-1]['batch_size']}"
        line[0].set(title=f"{where}: coordinates of one ω, {largest}", xlabel="standardised")
        line[2].set(title=f"ω of {len(sizes[-1]['projections'])} batches along v, {largest}")
        handles = [
            Line2D([], [], color=f"C{i}", label=f"b = {size['batch_size']}")
            for i, size in enumerate(sizes)
        ]
        for ax, name in ((line[1], "coordinates"), (line[3], "projections")):
            for i, size in enumerate(sizes):
                jn.plotting.noise_quantiles(np.array(size[name]), ax, color=f"C{i}")
            ax.legend(handles=handles, fontsize="small")
            ax.set_ylabel(f"quantile of the {name}")
    for ax in axes[:, [0, 2]].flat:
        for text, name in zip(ax.get_legend().get_texts(), ("ω", "normal"), strict=False):
            text.set_text(name)
    return figure


def _markers(columns: Columns) -> list[str]:
    number = len(np.unique(columns["learning_rate"]))
    return [MARKERS[i % len(MARKERS)] for i in range(number)]
