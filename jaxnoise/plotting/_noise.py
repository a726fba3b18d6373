"""The noise of gradients: tables of vanishing components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..gradients import VanishingGradients
from ._axes import axes_or_new


def vanishing_table(
    rows: VanishingGradients | Mapping[str, VanishingGradients], ax: Axes | None = None
) -> Axes:
    """Draws the table of p_τ in per cent and M_τ for each threshold, a row for each result.

    Args:
      rows: one result over a vector of thresholds, or name → result over the same thresholds.
      ax: axes to draw into; None makes a figure.

    Returns:
      The axes.

    Raises:
      ValueError: if the results differ in their thresholds.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> result = jn.gradients.vanishing(jnp.array([0.0, 2.0]), jnp.array([0.1, 1.0]))
      >>> len(jn.plotting.vanishing_table({"SGD": result}).tables)
      1
    """
    ax = axes_or_new(ax)
    if isinstance(rows, VanishingGradients):
        rows = {"": rows}
    taus = np.atleast_1d(next(iter(rows.values())).tau)
    if any(not np.array_equal(np.atleast_1d(row.tau), taus) for row in rows.values()):
        raise ValueError("all rows must have the same thresholds tau")
    ax.axis("off")
    table = ax.table(
        cellText=[[name, *_cells(row)] for name, row in rows.items()],
        colLabels=["", *(f"τ = {tau:.3g}" for tau in taus)],
        cellLoc="center",
        loc="upper center",
    )
    table.auto_set_column_width(range(1 + len(taus)))
    table.scale(1, 2.2)
    ax.set_title(r"$p_\tau$ (vanishing components) over $M_\tau$ (mean of the others)")
    return ax


def _cells(row: VanishingGradients) -> list[str]:
    pairs = zip(np.atleast_1d(row.fraction), np.atleast_1d(row.tail_mean), strict=True)
    return [f"{100 * p:.2f} %\n{m:.3g}" for p, m in pairs]
