"""From how many starts each method reaches the global minimum of a function."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from .._common import Curves, say
from ._config import Plan
from ._descend import Cell, first_delta, outcome, stages_of, starts_of
from ._methods import Method, methods_of
from ._problems import CASES
from ._search import best_setting
from ._smoothness import NUM_POINTS, smoothness_of

Row = dict[str, Any]


def cells_of(plan: Plan) -> list[tuple[str, int]]:
    """The functions and the numbers of dimensions that they are tried in."""
    return [
        (name, dimension)
        for name in plan.functions
        for dimension in plan.dimensions
        if dimension <= (CASES[name].dimensions or dimension)
    ]


def counted(name: str, dimension: int, plan: Plan) -> Row:
    """All methods on one function in so many dimensions.

    Returns:
      "gradients" and "steps": method → row, where all methods have as many gradients as graduated
      descent, and where all have as many steps; and what they depend on.
    """
    say(f"{name} in {dimension} dimensions")
    started = time.perf_counter()
    cell = cell_of(name, dimension, plan)
    rows: dict[str, dict[str, Row]] = {"gradients": {}, "steps": {}}
    for short, method in methods_of(plan).items():
        rows["gradients"][short] = row_of(cell, method, plan, plan.samples)
        if method.kind == "smoothed":
            rows["steps"][short] = rows["gradients"][short]
        else:
            rows["steps"][short] = row_of(cell, method, plan, 1)
    return {
        "name": name,
        "dimension": dimension,
        "starts": plan.starts_in(dimension),
        "radius": cell.case.radius,
        "first_delta": cell.delta,
        "curvature": cell.smoothness.curvature,
        "deltas": cell.smoothness.deltas,
        "curvatures": cell.smoothness.curvatures,
        **rows,
        "seconds": time.perf_counter() - started,
    }


def cell_of(name: str, dimension: int, plan: Plan) -> Cell:
    """The function, and L at points of its domain, the minimiser among them."""
    case = CASES[name]
    start_key, key = jax.random.split(jax.random.key(plan.seeds + 1))
    points = starts_of(start_key, case, dimension, NUM_POINTS)
    points = points.at[0].set(jnp.asarray(case.problem.minimizer(dimension), points.dtype))
    delta = max(plan.fractions) * first_delta(case, dimension)
    f = Partial(case.problem.function)
    return Cell(case, dimension, smoothness_of(key, f, delta, points))


def row_of(cell: Cell, method: Method, plan: Plan, samples: int) -> Row:
    """A method at its best setting, from the starts of all seeds.

    Returns:
      "share" and "gap", (seeds, M + 1) after each stage; "gradients" after each.
    """
    setting, tried = best_setting(cell, method, plan, samples)
    found = []
    for seed in range(plan.seeds):
        start_key, key = jax.random.split(jax.random.key(seed))
        start = starts_of(start_key, cell.case, cell.dimension, plan.starts_in(cell.dimension))
        found.append(outcome(cell, stages_of(key, cell, method, setting, plan, start, samples)))
    stages = plan.steps * samples * np.arange(1, plan.stages + 1)
    return {
        "rate": setting.rate,
        "fraction": setting.fraction,
        "tried": tried,
        "gradients": [*stages.tolist(), plan.gradients(samples)],
        **{key: [seed[key] for seed in found] for key in ("share", "gap")},
    }


def log(curves: Curves, cell: Row) -> None:
    """A line for each method, stage and seed of a function; "steps" are gradients."""
    for budget in ("gradients", "steps"):
        for short, row in cell[budget].items():
            run = f"{cell['name']}_{cell['dimension']}_equal_{budget}_{short}"
            for stage, gradients in enumerate(row["gradients"]):
                metrics = {key: [seed[stage] for seed in row[key]] for key in ("share", "gap")}
                curves.log(run, stage + 1, {"steps": gradients, "train": metrics, "test": {}})
