"""Loss landscapes: surfaces and contours."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .._checks import check_count, check_kind
from ..landscape import LossGrid, LossLine, TrajectoryPlane
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

    Raises:
      TypeError: if grid is no `LossGrid`, or ax is not 3-D.
      ValueError: if the grid holds no such metric or no finite value, or a bound is not finite.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> grid = jn.landscape.LossGrid(x, x, x[:, None] ** 2 + x**2, 0.0)
      >>> jn.plotting.surface(grid).name
      '3d'
    """
    check_kind(grid, "grid", LossGrid)
    ax = axes_or_new(ax, projection="3d")
    if ax.name != "3d":
        raise TypeError("ax must be 3-D, as plt.axes(projection='3d') makes them")
    values, low, high = with_range(metric_values(grid.values, metric), vmin, vmax)
    values = np.minimum(values, high)
    alphas, betas = np.meshgrid(grid.alphas, grid.betas, indexing="ij")
    colors = {"cmap": cmap, "vmin": low, "vmax": high}
    ax.plot_surface(alphas, betas, values, rstride=1, cstride=1, linewidth=0, **colors)
    floor = low - 0.5 * (high - low)
    levels = np.linspace(low, high, 15)[1:-1]
    ax.contour(alphas, betas, values, levels, zdir="z", offset=floor, linewidths=0.8, **colors)
    ticks = round_values(low, high)
    marks = [f"{tick:.10g}" for tick in ticks]
    longest = max(map(len, marks), default=0)
    ax.set_zticks(ticks, marks)
    ax.tick_params(axis="z", pad=1.5 * longest)
    ax.set(xlabel="α", ylabel="β", zlim=(floor, high))
    ax.set_zlabel(metric, labelpad=3 + 3 * longest)
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
    colorbar: bool = True,
) -> Axes:
    """Draws a landscape as filled contours, with the parameters themselves as a cross.

    Regions that are not finite stay hatched. Both coordinates have the same scale, unless one side
    is more than four times the other.

    Args:
      grid: the landscape.
      ax: axes to draw into; None makes a figure.
      metric: which metric to draw, where the grid holds several.
      vmin, vmax: range of colours. Give the same for landscapes that are to be compared.
      levels: number of contour levels, at least 3.
      cmap: name of a colour map.
      colorbar: whether to put a colour bar beside the axes.

    Returns:
      The axes.

    Raises:
      TypeError: if grid is no `LossGrid`.
      ValueError: if the grid holds no such metric or no finite value, a bound is not finite, or
        there are fewer than 3 levels.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> grid = jn.landscape.LossGrid(x, x, x[:, None] ** 2 + x**2, 0.0)
      >>> jn.plotting.contour(grid).get_xlabel()
      'α'
    """
    check_kind(grid, "grid", LossGrid)
    check_count(levels, "levels", 3)
    ax = axes_or_new(ax)
    values, low, high = with_range(metric_values(grid.values, metric), vmin, vmax)
    ax.patch.set(facecolor="0.85", hatch="///", edgecolor="0.6")
    steps = np.linspace(low, high, levels)
    below, above = bool(np.nanmin(values) < low), bool(np.nanmax(values) > high)
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    heights = np.ma.masked_invalid(values).T
    image = ax.contourf(grid.alphas, grid.betas, heights, steps, cmap=cmap, extend=extend)
    ax.contour(grid.alphas, grid.betas, heights, steps[1:-1], colors="k", linewidths=0.3)
    ax.plot(0, 0, "rx")
    width, height = np.ptp(grid.alphas), np.ptp(grid.betas)
    is_even = 0.25 <= height / width <= 4
    if colorbar:
        shrink = min(1, height / width) if is_even else 1
        ticks = round_values(low, high)
        ax.figure.colorbar(image, ax=ax, label=metric, ticks=ticks, shrink=shrink)
    ax.set(xlabel="α", ylabel="β", aspect="equal" if is_even else "auto")
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

    Raises:
      TypeError: if grid is no `LossLine`.
      ValueError: if the line holds no such metric.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> jn.plotting.line(jn.landscape.LossLine(x, x**2, 0.0)).get_ylabel()
      'loss'
    """
    check_kind(grid, "grid", LossLine)
    ax = axes_or_new(ax)
    ax.plot(grid.alphas, metric_values(grid.values, metric), **style)
    ax.set(xlabel="α", ylabel=metric)
    return ax


def trajectory(plane: TrajectoryPlane, ax: Axes | None = None, **style: Any) -> Axes:
    """Draws the path of a trajectory in its plane, as over the contours of the loss there.

    The start is a ring, the other iterates are dots; the labels say how much of the motion lies
    along each direction.

    Args:
      plane: the plane and the path.
      ax: axes to draw into, as `contour` returns them; None makes a figure.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Raises:
      TypeError: if plane is no `TrajectoryPlane`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> path = jnp.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
      >>> jn.plotting.trajectory(jn.landscape.trajectory_plane(path)).get_xlabel()
      'α (90 % of the motion)'
    """
    check_kind(plane, "plane", TrajectoryPlane)
    ax = axes_or_new(ax)
    alphas, betas = np.asarray(plane.coordinates).T
    style = {"color": "tab:red", "marker": "o", "markersize": 3, "linewidth": 1} | style
    (path,) = ax.plot(alphas, betas, **style)
    ax.plot(alphas[0], betas[0], "o", mfc="none", mec=path.get_color(), markersize=9)
    shares = [f"({100 * share:.2g} % of the motion)" for share in plane.explained_variance]
    ax.set(xlabel=f"α {shares[0]}", ylabel=f"β {shares[1]}")
    return ax


def with_range(values: np.ndarray, vmin: float | None, vmax: float | None):
    """Values, NaN where not finite, and the range of heights to draw."""
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all():
        raise ValueError("the landscape holds no finite value to draw: try a smaller radius")
    for name, bound in (("vmin", vmin), ("vmax", vmax)):
        if bound is not None and not np.isfinite(bound):
            raise ValueError(f"{name} must be finite, got {bound}")
    low = float(np.nanmin(values)) if vmin is None else vmin
    high = float(np.nanmax(values)) if vmax is None else vmax
    if not low < high:
        high = low + max(1e-6, 1e-3 * abs(low))
    return values, low, high


def round_values(low: float, high: float) -> np.ndarray:
    """About five round numbers from low to high, for the marks of an axis."""
    ticks = np.asarray(MaxNLocator(5).tick_values(low, high))
    return ticks[(low <= ticks) & (ticks <= high)]
