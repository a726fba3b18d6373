"""Pictures of the results; every function draws into the axes it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

import jaxnoise as jn

from ._measure import CLAIM, CURVE, THRESHOLDS


def draw_toy(name: str, case: dict[str, Any], ax: Axes) -> None:
    """Contours of F, minimisers of the components, paths of SGD."""
    weight, minimiser = (np.array(case["components"][k]) for k in ("weight", "minimiser"))
    paths = np.array(case["paths"])
    low = np.minimum(paths.min((0, 1)), minimiser.min(0)) - 0.3
    high = np.maximum(paths.max((0, 1)), minimiser.max(0)) + 0.3
    x, y = (np.linspace(*ends, 80) for ends in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(x, y), axis=-1)[:, :, None]
    values = 0.5 * np.mean(np.sum(weight * (points - minimiser) ** 2, axis=-1), axis=-1)
    levels = values.min() + (values.max() - values.min()) * np.linspace(0.03, 1, 12) ** 2
    ax.contour(x, y, values, levels, cmap="Greys_r", linewidths=0.7, alpha=0.7)
    ax.scatter(*minimiser.T, s=6, color="0.5", alpha=0.6, label="minimisers of f_i")
    for number, path in enumerate(paths):
        ax.plot(*path.T, "-", color=f"C{number}", linewidth=0.8)
    ax.plot(*case["optimum"], "rx", markersize=9, markeredgewidth=2, label="w_*")
    ax.set(title=f"case {name}", xlabel="w₁", ylabel="w₂")
    ax.legend(fontsize="small")


def draw_thresholds(rows: dict[str, Any], ax: Axes) -> None:
    """p_τ against τ for every solution, mean over the seeds."""
    for name, row in rows.items():
        ax.plot(CURVE, 100 * np.mean(row["curve"], axis=0), label=name)
    ax.axhline(100 * CLAIM, color="k", linestyle="--", linewidth=0.8)
    for tau in THRESHOLDS:
        ax.axvline(tau, color="0.85", linewidth=0.8, zorder=0)
    ax.set(xscale="log", xlabel="τ", ylabel="p_τ, per cent", title="vanishing components")
    ax.legend(fontsize="x-small")


def draw_growth(networks: dict[str, Any], ax: Axes) -> None:
    """r_t of every network and seed."""
    curves = {
        f"{name}, seed {seed}": np.array(ratios, float)
        for name, row in networks.items()
        for seed, ratios in enumerate(row["growth_ratio"])
    }
    jn.plotting.growth_curve(curves, ax).set_xlabel("epoch")


def draw_batches(networks: dict[str, Any], ax: Axes, what: str, tau: float = 1e-4) -> None:
    """p_τ ("fraction") or M_τ ("tail_mean") against the batch size."""
    column = THRESHOLDS.index(tau)
    for number, (name, row) in enumerate(networks.items()):
        values = np.array([batches[what] for batches in row["batches"]])[..., column]
        values = 100 * values if what == "fraction" else values
        mean, spread = values.mean(0), values.std(0)
        ax.plot(row["batch_sizes"], mean, ".-", color=f"C{number}", label=name)
        low = np.maximum(mean - spread, values.min(0))  # no band to zero on a log scale
        ax.fill_between(row["batch_sizes"], low, mean + spread, color=f"C{number}", alpha=0.15)
    label = {"fraction": "p_τ, per cent", "tail_mean": "M_τ"}[what]
    ax.set(xlabel="batch size b", ylabel=f"{label}, τ = {tau:.0e}".replace("e-0", "e-"))
    ax.set_title("means of mini-batches")
    ax.set_xscale("log", base=2)
    if what == "tail_mean":
        ax.set_yscale("log")
    ax.legend(fontsize="small")
