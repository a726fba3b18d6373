"""How flat the loss is around a point: sharpness in boxes, and the rise over random planes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import jaxnoise as jn

from ._config import Plan
from ._train import Network

NORMALIZATIONS: tuple[Literal["filter_unit", "filter"], ...] = ("filter_unit", "filter")


def flatness(
    network: Network,
    params: Any,
    probe: Any,
    plan: Plan,
    radius: float,
    epsilons: tuple[float, ...],
    path: Path,
) -> dict[str, float]:
    """All measures at one point, the larger the sharper; `path` is where its planes are kept.

    "C_ε" is (max L − L)/L in the box without guards, "Keskar" that with them; "rise, …" is the mean
    of L over planes less L at their center, relative to the latter.
    """

    def box(epsilon: Any, guard: bool) -> np.ndarray:
        found = jn.sharpness.box_sharpness(
            network.loss_fn, params, probe, np.asarray(epsilon), guard=guard, solver="projected"
        )
        return np.atleast_1d(found.value)

    measures = {
        f"C_{epsilon:g}": float(value)
        for epsilon, value in zip(epsilons, box(epsilons, False), strict=True)
    }
    measures[f"Keskar C_{plan.guard_epsilon:g}"] = float(box(plan.guard_epsilon, True)[0])
    for normalization in NORMALIZATIONS:
        grids = jn.landscape.loss_grids(
            jax.random.key(0),
            network.loss_fn,
            params,
            probe,
            num=plan.draws,
            normalization=normalization,
            radius=radius,
            resolution=plan.draw_resolution,
            path=path.with_name(f"{path.name}_{normalization}.npz"),
        )
        rises = grids.values.mean((1, 2)) / grids.center - 1
        measures[f"rise, {normalization}"] = float(rises.mean())
        measures[f"spread of rise, {normalization}"] = float(rises.std(ddof=1))
    return measures
