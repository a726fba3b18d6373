"""Pictures of the results; every function draws into the axes it is given."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from scipy import stats

import jaxnoise as jn

from .._common import final
from ._compare import smoothing, sum_of_rates
from ._methods import METHODS
from ._schedules import LARGE_POWERS, SMALL_POWERS, schedules


def draw_degrees(rows: dict[str, Any], ax: Axes, edges: np.ndarray, decay: float) -> None:
    """δ from the beginning to the end of each stage, and dashed what was meant.

    Here and below the edges are the epochs between which the stages lie.
    """
    for place, (method, row) in enumerate(rows.items()):
        degrees = smoothing(row, method, decay)
        begin, end, meant = (
            stats.gmean(degrees[name], axis=1) for name in ("begin", "end", "intended")
        )
        x = np.repeat(edges, 2)[1:-1][: 2 * len(begin)]
        color = f"C{place}"
        ax.plot(x, np.stack([begin, end], 1).ravel(), color=color, label=METHODS[method])
        ax.plot(x[::2], begin, ".", color=color)
        ax.plot(x, np.repeat(meant, 2), "--", color=color, linewidth=0.8)
    ax.set(xlabel="epochs", ylabel="δ = ηC/√b", yscale="log")
    ax.legend(fontsize="x-small")


def draw_noise(rows: dict[str, Any], ax: Axes, edges: np.ndarray) -> None:
    """C between the stages, mean and deviation over the seeds."""
    for place, (method, row) in enumerate(rows.items()):
        noise = np.asarray(row["noise_stds"], float)
        spread = noise.std(1, ddof=1) if noise.shape[1] > 1 else np.zeros(len(noise))
        x, name = edges[: len(noise)], METHODS[method]
        ax.errorbar(x, noise.mean(1), spread, color=f"C{place}", marker=".", label=name)
    ax.set(xlabel="epochs", ylabel="C", yscale="log")
    ax.legend(fontsize="x-small")


def draw_stages(rows: dict[str, Any], ax: Axes, edges: np.ndarray, what: str) -> None:
    """The "learning_rates" or "batch_sizes" of the stages, means over the seeds."""
    for place, (method, row) in enumerate(rows.items()):
        values = np.asarray(row[what], float).reshape(len(row[what]), -1).mean(1)
        x, name = edges[: len(values) + 1], METHODS[method]
        ax.stairs(values, x, baseline=None, color=f"C{place}", label=name, linewidth=1.5)
    ax.set(xlabel="epochs", ylabel=what.replace("_", " "), yscale="log")
    ax.legend(fontsize="x-small")


def draw_against_rates(groups: dict[str, dict[str, Any]], ax: Axes, metric: str) -> None:
    """A metric at the end of training against Σ η, mean and deviation over the seeds."""
    for place, (group, rows) in enumerate(groups.items()):
        ends = {title: final(row, metric) for title, row in rows.items()}
        for title, end in ends.items():
            if end is None:
                continue
            x, y = sum_of_rates(rows[title]), end.mean()
            spread = end.std(ddof=1) if len(end) > 1 else 0.0
            ax.errorbar(x, y, spread, color=f"C{place}", marker="os^"[place], markersize=4)
            name = title.removeprefix("polynomial, ")
            ax.annotate(name, (x, y), (4, 3), textcoords="offset points", fontsize="xx-small")
        ax.plot([], [], "os^"[place], color=f"C{place}", markersize=4, label=group)
    is_loss = metric.endswith("loss")
    ax.set(xlabel="Σ η over all steps", ylabel=metric.replace("_", " "))
    ax.legend(loc="lower left" if is_loss else "lower right", fontsize="x-small")
    if ax.containers:  # else all have diverged
        ax.set(xscale="log", yscale="log" if is_loss else "linear")


def draw_schedules(peak: float, epochs: int, values: Axes, rates: Axes) -> None:
    """The schedules by epoch, and by how much they decay from epoch to epoch."""
    by_title: Any = schedules(peak, epochs)
    jn.plotting.schedule(by_title, epochs, values, linewidth=1)
    jn.plotting.decay_rates(by_title, epochs, rates, linewidth=1)
    rates.set_ylim(0.7, 1.02)
    for ax in (values, rates):
        ax.set_xlabel("epoch t")
        in_colors_of_schedules(ax)


def in_colors_of_schedules(ax: Axes) -> None:
    """Colours lines, and their bands, by schedule: powers of the polynomial in order, others."""
    powers = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(SMALL_POWERS + LARGE_POWERS)))
    others = matplotlib.colormaps["Set1"]([0, 3, 4, 7, 8])
    for number, color in enumerate([*powers, *others]):
        for artist in (*ax.lines[number : number + 1], *ax.collections[number : number + 1]):
            artist.set_color(color)
