"""Pictures of the results; every function draws into the axes it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

import jaxnoise as jn

from ._compare import shares, title
from ._methods import Method
from ._problems import CASES, NESTED
from ._schedules import NUM_STEPS, schedules


def draw_line(data: dict[str, Any], ax: Axes) -> None:
    """A function of one dimension, its smoothings, and the path from one to the next."""
    grid, values, path = (np.array(data[key]) for key in ("grid", "values", "path"))
    last = len(values) - 1
    for m, (delta, curve) in enumerate(zip(data["deltas"], values, strict=True)):
        color = "0.6" if m == last else f"C{m}"
        label = "f" if m == last else f"δ = {delta:.3g}"
        ax.plot(grid, curve, color=color, linewidth=1, label=label)
        (enter, leave), ends = data["heights"][m], sorted(path[m : m + 2, 0])
        on_way = (ends[0] <= grid) & (grid <= ends[1])
        ax.plot(grid[on_way], curve[on_way], color=color, linewidth=3.5)
        ax.plot(path[m, 0], enter, "o", mfc="w", mec=color, markersize=6, zorder=3)
        if m < last:
            below = data["heights"][m + 1][0]
            ax.plot(path[[m + 1, m + 1], 0], [leave, below], "k:", linewidth=1)
    ax.plot(*path[-1], data["heights"][-1][1], "k*", markersize=11, zorder=4)
    ax.set(xlabel="x", ylabel="f and its smoothings")
    ax.legend(fontsize="small")


def landscape(data: dict[str, Any], stage: int) -> jn.landscape.LossGrid:
    """A stage's function around the global minimiser of f."""
    sides = np.array(data["grid"]) - CASES[NESTED].problem.coordinate
    values = np.array(data["values"][stage])
    return jn.landscape.LossGrid(sides, sides, values, float(values.min()))


def draw_plane(data: dict[str, Any], stage: int, ax: Axes) -> None:
    """Contours of a stage's function of two dimensions, and the path up to its end."""
    jn.plotting.contour(landscape(data, stage), ax, levels=15, colorbar=False)
    path = np.array(data["path"])[: stage + 2] - CASES[NESTED].problem.coordinate
    ax.plot(*path.T, "-o", color="w", markersize=3, linewidth=1)
    label_plane(data, stage, ax)


def draw_surface(data: dict[str, Any], stage: int, ax: Any) -> None:
    """A stage's function as a surface."""
    jn.plotting.surface(landscape(data, stage), ax)
    ax.set_zlabel("")
    label_plane(data, stage, ax)


def label_plane(data: dict[str, Any], stage: int, ax: Any) -> None:
    delta = data["deltas"][stage]
    name = f"δ = {delta:.3g}" if delta else "f"
    ax.set(title=name, xlabel="x₁ − x₁*", ylabel="x₂ − x₂*")


def draw_schedules(table: dict[str, Any], lines: Any) -> None:
    """Schedules of several kinds, then polynomials: values, and decay rates in two regions."""
    every = schedules()
    polynomials = {name: s for name, s in every.items() if name.startswith("polynomial")}
    others = {name: s for name, s in every.items() if name not in polynomials}
    groups = others | {name: s for name, s in polynomials.items() if "0.5" in name}, polynomials
    for group, axes in zip(groups, lines, strict=True):
        jn.plotting.schedule(group, NUM_STEPS, axes[0])
        regions = zip(table["regions"], table["bounds"], axes[1:], strict=False)
        for (a, cosine), bound, ax in regions:
            jn.plotting.decay_rates(group, NUM_STEPS, ax, admissible=bound)
            ax.get_legend().remove()
            ax.set(title=f"a = {a:g}, cos θ = {cosine:g}", ylim=(1.2 * bound - 0.2, 1.01))


def draw_shares(cells: list[dict[str, Any]], budget: str, names: dict[str, str], ax: Axes) -> None:
    """The share of starts that reach the minimum: a square for each case and method."""
    table = np.array([[shares(cell[budget][m]).mean() for m in names] for cell in cells])
    ax.imshow(100 * table, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    for (i, j), share in np.ndenumerate(table):
        color = "k" if share > 0.6 else "w"
        text = f"{100 * share:.3g}" if share >= 0.001 or share == 0 else "<0.1"
        ax.text(j, i, text, ha="center", va="center", color=color, fontsize=7)
    ax.set_xticks(range(len(names)), list(names.values()), rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(len(cells)), [title(cell) for cell in cells], fontsize=8)
    ax.set_title(f"starts at the global minimum, %, at equal {budget}", fontsize="medium")


def draw_gaps(cell: dict[str, Any], methods: dict[str, Method], ax: Axes) -> None:
    """The median of f over the starts above the global minimum, after each stage."""
    for number, (short, method) in enumerate(methods.items()):
        row = cell["gradients"][short]
        gaps = np.array(row["gap"], float)
        style = "-" if method.kind == "smoothed" else "--"
        ax.plot(
            row["gradients"],
            np.maximum(np.median(gaps, axis=0), 1e-6),
            style,
            color=f"C{number}",
            marker=".",
            linewidth=1,
            label=method.name,
        )
    ax.set(yscale="log", xlabel="gradients", ylabel="median f − f*", title=title(cell))
