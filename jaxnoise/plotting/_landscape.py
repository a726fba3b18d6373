"""Loss landscapes: surfaces and contours."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..landscape import LossGrid, LossLine
from ._axes import axes_or_new, metric_values


def surface(
    grid: LossGrid,
    ax: Any = None,
    *,
    metric: str = "loss",
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "viridis",
) -> Any:
    """Draws a landscape as a surface above its contours.

    Cells that are not finite are left out.

    Args:
      grid: the landscape.
      ax: 3-D axes to draw into; None makes a figure.
      metric: which metric to draw, where the grid holds several.
      vmin, vmax: range of heights and colours; higher cells are cut off. Give the same for
        landscapes that are to be compared.
      cmap: name of a colour map.

    Returns:
      The axes.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> grid = jn.landscape.LossGrid(x, x, x[:, None] ** 2 + x**2, 0.0)
      >>> jn.plotting.surface(grid).name
      '3d'
    """
    ax = axes_or_new(ax, projection="3d")
    values, low, high = _with_range(metric_values(grid.values, metric), vmin, vmax)
    values = np.minimum(values, high)
    alphas, betas = np.meshgrid(grid.alphas, grid.betas, indexing="ij")
    colors = {"cmap": cmap, "vmin": low, "vmax": high}
    ax.plot_surface(alphas, betas, values, rstride=1, cstride=1, linewidth=0, **colors)
    floor = low - 0.5 * (high - low)
    levels = np.linspace(low, high, 15)[1:-1]
    ax.contour(alphas, betas, values, levels, zdir="z", offset=floor, linewidths=0.8, **colors)
    ax.set_zticks(_round_values(low, high))
    ax.set(xlabel="α", ylabel="β", zlim=(floor, high))
    ax.set_zlabel(metric, labelpad=12)
    ax.view_init(elev=28, azim=-60)
    return ax


def contour(
    grid: LossGrid,
    ax: Axes | None = None,
    *,
    metric: str = "loss",
    vmin: float | None = None,
    vmax: float | None = None,
    levels: int = 20,
    cmap: str = "viridis",
) -> Axes:
    """Draws a landscape as filled contours, with the parameters themselves as a cross.

    Regions that are not finite stay hatched.

    Args:
      grid: the landscape.
      ax: axes to draw into; None makes a figure.
      metric: which metric to draw, where the grid holds several.
      vmin, vmax: range of colours. Give the same for landscapes that are to be compared.
      levels: number of contour levels, at least 3.
      cmap: name of a colour map.

    Returns:
      The axes.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> grid = jn.landscape.LossGrid(x, x, x[:, None] ** 2 + x**2, 0.0)
      >>> jn.plotting.contour(grid).get_xlabel()
      'α'
    """
    ax = axes_or_new(ax)
    values, low, high = _with_range(metric_values(grid.values, metric), vmin, vmax)
    ax.patch.set(facecolor="0.85", hatch="///", edgecolor="0.6")
    steps = np.linspace(low, high, levels)
    below, above = bool(np.nanmin(values) < low), bool(np.nanmax(values) > high)
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    heights = np.ma.masked_invalid(values).T
    image = ax.contourf(grid.alphas, grid.betas, heights, steps, cmap=cmap, extend=extend)
    ax.contour(grid.alphas, grid.betas, heights, steps[1:-1], colors="k", linewidths=0.3)
    ax.plot(0, 0, "rx")
    ax.figure.colorbar(image, ax=ax, label=metric, ticks=_round_values(low, high))
    ax.set(xlabel="α", ylabel="β", aspect="equal")
    return ax


def line(grid: LossLine, ax: Axes | None = None, *, metric: str = "loss", **style: Any) -> Axes:
    """Draws the loss along a line.

    Args:
      grid: the line.
      ax: axes to draw into; None makes a figure.
      metric: which metric to draw, where the line holds several.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> jn.plotting.line(jn.landscape.LossLine(x, x**2, 0.0)).get_ylabel()
      'loss'
    """
    ax = axes_or_new(ax)
    ax.plot(grid.alphas, metric_values(grid.values, metric), **style)
    ax.set(xlabel="α", ylabel=metric)
    return ax


def _with_range(values: np.ndarray, vmin: float | None, vmax: float | None):
    """Values, NaN where not finite, and the range of heights to draw."""
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all():
        raise ValueError("the landscape holds no finite value to draw: try a smaller radius")
    low = float(np.nanmin(values)) if vmin is None else vmin
    high = float(np.nanmax(values)) if vmax is None else vmax
    if not low < high:
        high = low + max(1e-6, 1e-3 * abs(low))
    return values, low, high


def _round_values(low: float, high: float) -> np.ndarray:
    """About five round numbers from low to high, for the marks of an axis."""
    ticks = np.asarray(MaxNLocator(5).tick_values(low, high))
    return ticks[(low <= ticks) & (ticks <= high)]
