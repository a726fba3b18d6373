"""Pictures of the results; every function draws into the axes it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._common import draw_histories


def draw_rows(rows: list[dict[str, Any]], ax: Axes, ylabel: str, *, sharp: bool = False) -> None:
    """Means over the seeds (lines) below their bounds (dashes) of the same colour.

    Args:
      rows: of settings, as `row_of` makes them.
      ax: axes to draw into.
      ylabel: what is bounded.
      sharp: whether to draw the sharper bounds, dotted, too.
    """
    for number, row in enumerate(rows):
        color, k = f"C{number}", np.array(row["records"]) + 1
        mean, error = np.array(row["mean"], float), np.array(row["error"], float)
        ax.plot(k, mean, color=color, linewidth=1.3, label=row["name"])
        ax.fill_between(k, mean - error, mean + error, color=color, alpha=0.3, linewidth=0)
        ax.plot(k, np.array(row["bound"], float), "--", color=color, linewidth=1)
        if sharp and row["sharp"] is not None:
            ax.plot(k, np.array(row["sharp"], float), ":", color=color, linewidth=1.2)
    ax.set(xscale="log", yscale="log", xlabel="k + 1", ylabel=ylabel)
    ax.legend(fontsize="x-small")


def named(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["name"] in names]


def draw_floors(x: Any, floors: Any, exact: Any, bound: Any, ax: Axes, xlabel: str) -> None:
    """Floors of the gap with standard errors, what they are exactly, and what bounds them."""
    values = np.array(floors, float)
    error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    ax.errorbar(x, values.mean(0), error, fmt="o", markersize=5, capsize=3, label="measured")
    ax.plot(x, exact, "-", color="0.5", linewidth=1, label="exact")
    ax.plot(x, bound, "k--", linewidth=1, label="bound, sharp")
    ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel="floor of E f(x) − f*")
    ax.legend(fontsize="small")


def draw_known_floors(found: dict[str, Any], axes: Any, variance: float) -> None:
    """The floors of the regression by step size and by batch size."""
    smooth, convex = found["smoothness"], found["strong_convexity"]
    known, batches = found["known"], np.array(found["batch_sizes"])
    shares = np.array(found["shares"])
    exact = known["exact_by_step"]
    sharp = shares * variance / (2 * convex * batches[0])
    draw_floors(shares, known["floors_by_step"], exact, sharp, axes[0], "γL")
    sharp = 0.25 * variance / (2 * convex * batches)
    by_batch = known["floors_by_batch"], known["exact_by_batch"]
    draw_floors(batches, *by_batch, sharp, axes[1], f"batch size B, γ = {0.25 / smooth:.3g}")


def draw_tuned(tuned: dict[str, Any], ax: Axes) -> None:
    """The mean gap after K steps with the step size for K."""
    ax.plot(tuned["steps"], tuned["mean"], "o-", label="measured")
    ax.plot(tuned["steps"], tuned["bound"], "k--", label="bound")
    ax.set(xscale="log", yscale="log", xlabel="K", ylabel="mean gap, γ tuned to K")
    ax.set_xticks(tuned["steps"], [str(k) for k in tuned["steps"]])
    ax.set_xticks([], minor=True)
    ax.legend(fontsize="small")


def draw_resnet(rows: dict[str, Any], axes: Any) -> None:
    """Training loss by steps and by examples, and test accuracy by steps."""
    draw_histories(rows, axes[0], "train", "loss", "steps")
    draw_histories(rows, axes[1], "train", "loss", "gradient_queries")
    draw_histories(rows, axes[2], "test", "accuracy", "steps")
