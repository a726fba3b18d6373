"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from ..training import History
from ._axes import axes_or_new


def training_curves(
    histories: History | Mapping[str, History],
    ax: Axes | None = None,
    *,
    metric: str = "loss",
    against: Literal["epochs", "steps", "gradient_queries"] = "epochs",
) -> Axes:
    """Draws a metric as training went on: training dashed, test solid.

    With replicas the line is their mean and the band one standard deviation on either side.

    Args:
      histories: one history, or name → history.
      ax: axes to draw into; None makes a figure.
      metric: which metric to draw.
      against: what to count on the horizontal axis.

    Returns:
      The axes.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> steps = np.array([10, 20])
      >>> history = jn.training.History(
      ...     steps, 8 * steps, 0.1, 8, 0.0, {"loss": np.array([2.0, 1.0])}, {})
      >>> jn.plotting.training_curves(history).get_xlabel()
      'epochs'
    """
    ax = axes_or_new(ax)
    if isinstance(histories, History):
        histories = {"": histories}
    for number, (name, history) in enumerate(histories.items()):
        steps = np.asarray(history.steps)
        x = np.arange(1, len(steps) + 1) if against == "epochs" else getattr(history, against)
        style: dict[str, Any] = {"color": f"C{number}"}
        for part, dashes in (("train", "--"), ("test", "-")):
            curves = (getattr(history, part) or {}).get(metric)
            if curves is None:
                continue
            curves = np.atleast_2d(curves)
            mean, spread = curves.mean(0), curves.std(0)
            ax.plot(x, mean, dashes, label=f"{name} {part}".strip(), **style)
            if len(curves) > 1:
                ax.fill_between(x, mean - spread, mean + spread, alpha=0.15, linewidth=0, **style)
    ax.set(xlabel=against.replace("_", " "), ylabel=metric)
    ax.legend(fontsize="small")
    return ax
