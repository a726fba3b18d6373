"""Pictures of the results; every function draws into the axes it is given."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from .._common import draw_histories
from ._compare import comparisons, final
from ._methods import METHODS, name_of


def draw_curves(
    rows: dict[str, Any], family: str, ax: Axes, part: Literal["train", "test"], metric: str
) -> None:
    """A metric of "train" or "test" by epoch, mean and deviation over the seeds."""
    named = {name_of(method, family): row for method, row in rows.items()}
    draw_histories(named, ax, part, metric)


def draw_batches(cells: list[Any], ax: Axes, part: Literal["train", "test"], metric: str) -> None:
    """The base and the algorithm at every batch size, against steps, as in figure 1."""
    named = {
        f"{name_of(method, cell.family)}, batch {cell.batch_size}": cell.rows[method]
        for cell in cells
        for method in ("base", "paper")
    }
    draw_histories(named, ax, part, metric, "steps")


def draw_sweep(cells: list[Any], ax: Axes) -> None:
    """Test error at the end of training by batch size, mean and deviation over the seeds."""
    for number, method in enumerate(METHODS):
        ends = {cell.batch_size: final(cell.rows[method], "test_accuracy") for cell in cells}
        found = {size: end for size, end in ends.items() if end is not None}
        ax.errorbar(
            [size * 1.02 ** (number - len(METHODS) / 2) for size in found],  # side by side
            [1 - end.mean() for end in found.values()],
            [end.std(ddof=1) if len(end) > 1 else 0.0 for end in found.values()],
            color=f"C{number}",
            linestyle="--" if METHODS[method].rate == "best" else "-",
            marker="o",
            markersize=3,
            label=name_of(method, cells[0].family),
        )
    ax.set(xlabel="batch size", ylabel="test error", xscale="log", yscale="log")
    sizes = [cell.batch_size for cell in cells]
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    for which in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        which("{x:g}")
    ax.legend(fontsize="x-small")


def draw_gains(rows: dict[str, Any], family: str, ax: Axes) -> None:
    """Test accuracy less that of the base optimizer, a dot for every seed, a bar for the mean."""
    pairs = comparisons(rows)["over_base"]
    names = []
    for place, (method, pair) in enumerate(pairs.items()):
        names.append(name_of(method, family))
        color = f"C{list(METHODS).index(method)}"
        if pair is not None:
            dots = 100 * np.array(pair["difference"])
            ax.barh(place, dots.mean(), color=color, alpha=0.4)
            ax.plot(dots, np.full(len(dots), place), ".", color=color)
    ax.axvline(0, color="k", linewidth=0.8)
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.invert_yaxis()
    ax.set(xlabel=f"test accuracy over {name_of('base', family)}, points")


def draw_noise(rows: dict[str, Any], family: str, ax: Axes) -> None:
    """tr Σ by epoch along the trajectories on which it was measured, a line for every seed."""
    for number, (method, row) in enumerate(rows.items()):
        curves = row["noise"].get("covariance_trace", ())
        for seed, curve in enumerate(curves):
            ax.plot(
                np.arange(1, len(curve) + 1),
                curve,
                color=f"C{number}",
                linewidth=1,
                label=None if seed else name_of(method, family),
            )
    if ax.has_data():
        ax.set(xlabel="epochs", ylabel="tr Σ", yscale="log")
        ax.legend(fontsize="x-small")
