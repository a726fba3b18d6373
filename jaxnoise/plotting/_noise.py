"""The noise of gradients: vanishing components, growth, distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from .._checks import check_numbers
from ..gradients import VanishingGradients
from ..gradients._distribution import standardize
from ._axes import axes_or_new, by_name


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
      TypeError: if rows is neither a result nor a dict of them.
      ValueError: if the results differ in their thresholds.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> result = jn.gradients.vanishing(jnp.array([0.0, 2.0]), jnp.array([0.1, 1.0]))
      >>> len(jn.plotting.vanishing_table({"SGD": result}).tables)
      1
    """
    rows = by_name(rows, "rows", VanishingGradients)
    ax = axes_or_new(ax)
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


def noise_histogram(
    projections: Any, ax: Axes | None = None, *, bins: int | Sequence[float] = 80
) -> Axes:
    """Draws the histogram of standardised projections with the standard normal density.

    Each column is standardised by itself; all of them make one histogram. Densities are on a
    logarithmic scale, so that the tails can be seen.

    Args:
      projections: (n, K) as from `jn.gradients.noise_projections`, or (n,).
      ax: axes to draw into; None makes a figure.
      bins: number of bins, or their edges.

    Returns:
      The axes.

    Raises:
      ValueError: if a value is not finite or a column is constant.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> jn.plotting.noise_histogram(np.random.default_rng(0).normal(size=(99, 2))).get_yscale()
      'log'
    """
    z = standardize(projections)
    ax = axes_or_new(ax)
    heights, *_ = ax.hist(z.ravel(), bins, density=True, alpha=0.5, label="projections")
    x = np.linspace(*ax.get_xlim(), 400)
    ax.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), "k", linewidth=1, label="normal")
    heights = np.asarray(heights)
    low, high = (0.5 * heights[heights > 0].min(initial=0.1), 2 * heights.max(initial=0.4))
    ax.set(xlabel="standardised projection", ylabel="density", yscale="log", ylim=(low, high))
    ax.legend(fontsize="small")
    return ax


def noise_quantiles(projections: Any, ax: Axes | None = None, **style: Any) -> Axes:
    """Draws the quantiles of standardised projections against those of the normal.

    A thin line for each direction; normal noise lies along the dashed diagonal. Of large samples
    some 400 quantiles are drawn, evenly spaced, the extremes among them.

    Args:
      projections: (n, K) as from `jn.gradients.noise_projections`, or (n,).
      ax: axes to draw into; None makes a figure.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Raises:
      ValueError: if a value is not finite or a column is constant.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> len(jn.plotting.noise_quantiles(np.random.default_rng(0).normal(size=(99, 2))).lines)
      3
    """
    z = np.sort(standardize(projections), axis=0)
    ax = axes_or_new(ax)
    normal = ndtri((np.arange(len(z)) + 0.5) / len(z))
    drawn = np.unique(np.searchsorted(normal, np.linspace(normal[0], normal[-1], 400)))
    ax.plot(normal[drawn], z[drawn], **{"color": "C0", "linewidth": 0.7, "alpha": 0.7, **style})
    ax.axline((0, 0), slope=1, color="k", linestyle="--", linewidth=1)
    ax.set(xlabel="quantile of the normal", ylabel="quantile of the projections")
    return ax


def growth_curve(ratios: Any, ax: Axes | None = None, **style: Any) -> Axes:
    """Draws r_t along the trajectory, with its maximum, the estimate of N, in the legend.

    Values that are not finite leave a gap.

    Args:
      ratios: (T,) as from `jn.gradients.growth_ratio`, or name → (T,).
      ax: axes to draw into; None makes a figure.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Raises:
      TypeError: if ratios are no numbers.
      ValueError: if a curve is not of shape (T,) with T ≥ 1.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> ax = jn.plotting.growth_curve({"FFN": np.array([1.5, 3.5, 2.0])})
      >>> ax.get_legend().get_texts()[0].get_text()
      'FFN: N = 3.5'
    """
    curves = ratios if isinstance(ratios, Mapping) else {"": ratios}
    for curve in curves.values():
        check_numbers(curve, "ratios")
        if np.ndim(curve) != 1 or not np.size(curve):
            raise ValueError(f"ratios must be of shape (T,) with T ≥ 1, got {np.shape(curve)}")
    ax = axes_or_new(ax)
    for name, curve in curves.items():
        curve = np.asarray(curve)
        largest = f"N = {np.fmax.reduce(curve):.3g}"
        ax.plot(curve, label=f"{name}: {largest}" if name else largest, **style)
    ax.set(xlabel="iterate t", ylabel=r"$r_t$")
    ax.legend(fontsize="small")
    return ax
