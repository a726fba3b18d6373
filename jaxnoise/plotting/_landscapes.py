"""Landscapes side by side."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure

from .._checks import check_kind, check_numbers
from ..landscape import LossGrid
from ._axes import metric_values
from ._landscape import contour, round_values, surface, with_range

_EXTENDS = ("neither", "min", "max", "both")  # what contours say about values beyond their range


def landscapes(
    grids: Mapping[str, LossGrid],
    figure: Figure | SubFigure | None = None,
    *,
    metric: str = "loss",
    share: bool = True,
    quantile: float = 0.98,
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "viridis",
) -> np.ndarray:
    """Draws landscapes side by side, each as a surface above its contours, at equal scale.

    Args:
      grids: name → landscape. Give them the same radius, too.
      figure: empty figure or part of one to draw into, best with layout="constrained"; None makes
        one.
      metric: which metric to draw, where the grids hold several.
      share: whether all have the same range of heights and colours, and one colour bar. Each has
        its own otherwise, and only their shapes can be compared.
      quantile: the share of the finite values that is within the range where vmax is None, so that
        a steep corner leaves heights to the rest; 1 shows all of them.
      vmin, vmax: range of heights and colours; higher cells are cut off.
      cmap: name of a colour map.

    Returns:
      The (2, n) axes, the upper ones 3-D.

    Raises:
      ValueError: if there are no grids, one has no finite value, or quantile is not in (0, 1].

    References:
      Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully Convolutional
      Networks", 2019, figures 5, 6 and 8.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> bowl = x[:, None] ** 2 + x**2
      >>> grids = {k: jn.landscape.LossGrid(x, x, k * bowl, 0.0) for k in (1, 2)}
      >>> jn.plotting.landscapes(grids).shape
      (2, 2)
    """
    if not isinstance(grids, Mapping):
        raise TypeError(f"grids must be a dict of landscapes, got a {type(grids).__name__}")
    if not grids:
        raise ValueError("grids is empty: give at least one landscape")
    for grid in grids.values():
        check_kind(grid, "each of grids", LossGrid)
    check_numbers(quantile, "quantile")
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile must be in (0, 1], got {quantile}")
    n = len(grids)
    heights = [with_range(metric_values(g.values, metric), None, None)[0] for g in grids.values()]
    figure = figure or plt.figure(figsize=(4.5 * n + 1, 8.5), layout="constrained")
    above = [figure.add_subplot(2, n, k, projection="3d") for k in range(1, n + 1)]
    axes = np.array([above, [figure.add_subplot(2, n, n + k) for k in range(1, n + 1)]])
    if share:
        heights = [np.concatenate([h.ravel() for h in heights])] * n
    for (upper, lower), (name, grid), values in zip(axes.T, grids.items(), heights, strict=True):
        low = float(np.nanmin(values)) if vmin is None else vmin
        high = float(np.nanquantile(values, quantile)) if vmax is None else vmax
        options = {"metric": metric, "vmin": low, "vmax": high, "cmap": cmap}
        surface(grid, upper, **options).set_title(name)
        contour(grid, lower, colorbar=not share, **options)
    if share:
        images = [ax.collections[0] for ax in axes[1]]
        image = max(images, key=lambda image: _EXTENDS.index(image.extend))
        ticks = round_values(*image.get_clim())
        figure.colorbar(image, ax=list(axes[1]), label=metric, ticks=ticks, fraction=0.05)
    return axes
