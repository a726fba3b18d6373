"""Recorded training curves, drawn."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

import jaxnoise as jn


def draw_histories(
    rows: dict[str, Any],
    ax: Axes,
    part: Literal["train", "test"],
    metric: str,
    against: Literal["epochs", "steps", "gradient_queries"] = "epochs",
) -> None:
    """A metric as training went on, mean and deviation over the seeds.

    Args:
      rows: title → recorded run, with its "steps", e.g. "test_accuracy", and "gradient_queries"
        where these are counted.
      ax: axes to draw into.
      part: of which examples.
      metric: what to draw; losses on a logarithmic scale.
      against: what to count on the horizontal axis.
    """
    histories = {title: _history_of(row, part, metric) for title, row in rows.items()}
    found = {title: history for title, history in histories.items() if history is not None}
    if found:
        jn.plotting.training_curves(found, ax, metric=metric, against=against)
        ax.set_ylabel(f"{part} {metric}")
        if metric == "loss":
            ax.set_yscale("log")
        ax.legend(fontsize="x-small")


def _history_of(row: dict[str, Any], part: str, metric: str) -> jn.training.History | None:
    """The recorded curve in the form that plotting takes; None where not an epoch was finished."""
    curve = row[f"{part}_{metric}"]
    if curve is None or not np.size(curve):
        return None
    parts = {"train": {}, "test": {}} | {part: {metric: np.array(curve, float)}}
    steps = np.array(row["steps"])
    none = np.zeros(len(steps))
    queries = np.array(row.get("gradient_queries", none))
    return jn.training.History(steps, queries, none, none, none, **parts)
