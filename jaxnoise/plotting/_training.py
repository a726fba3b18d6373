"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from .._checks import check_choice
from ..training import History
from ._axes import axes_or_new, by_name


def training_curves(
    histories: History | Mapping[str, History],
    ax: Axes | None = None,
    *,
    metric: str = "loss",
    against: Literal["epochs", "steps", "gradient_queries"] = "epochs",
) -> Axes:
    """Draws a metric as training went on: training dashed, test solid.

    With replicas the line is their mean and the band one standard deviation on either side,
    but not below the lowest.

    Args:
      histories: one history, or name → history.
      ax: axes to draw into; None makes a figure.
      metric: which metric to draw.
      against: what to count on the horizontal axis.

    Returns:
      The axes.

    Raises:
      TypeError: if histories is neither a `History` nor a dict of them.
      ValueError: if `against` is unknown or a history lacks the metric.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> steps = np.array([10, 20])
      >>> history = jn.training.History(
      ...     steps, 8 * steps, 0.1, 8, 0.0, {"loss": np.array([2.0, 1.0])}, {})
      >>> jn.plotting.training_curves(history).get_xlabel()
      'epochs'
    """
    check_choice(against, "against", ("epochs", "steps", "gradient_queries"))
    histories = by_name(histories, "histories", History)
    ax = axes_or_new(ax)
    for number, (name, history) in enumerate(histories.items()):
        steps = np.asarray(history.steps)
        x = np.arange(1, len(steps) + 1) if against == "epochs" else getattr(history, against)
        style: dict[str, Any] = {"color": f"C{number}"}
        train, test = history.train or {}, history.test or {}
        if metric not in {**train, **test}:
            raise ValueError(
                f"metric must be one of {', '.join({**train, **test})}, got {metric!r}"
            )
        for part, metrics, dashes in (("train", train, "--"), ("test", test, "-")):
            if metric not in metrics:
                continue
            curves = np.atleast_2d(metrics[metric])
            curves = np.where(np.isfinite(curves), curves, np.nan)  # leaves a gap
            mean, spread = curves.mean(0), curves.std(0)
            ax.plot(x, mean, dashes, label=f"{name} {part}".strip(), **style)
            if len(curves) > 1:
                low = np.maximum(mean - spread, curves.min(0))  # no band to zero on a log scale
                ax.fill_between(x, low, mean + spread, alpha=0.15, linewidth=0, **style)
    ax.set(xlabel=against.replace("_", " "), ylabel=metric)
    ax.legend(fontsize="small")
    return ax
