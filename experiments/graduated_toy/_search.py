"""The step and the first degree of smoothing that serve a method best."""

from __future__ import annotations

import itertools
from typing import Any

import jax

from ._config import Plan
from ._descend import Cell, Setting, outcome, stages_of, starts_of
from ._methods import Method


def best_setting(
    cell: Cell, method: Method, plan: Plan, samples: int
) -> tuple[Setting, list[dict[str, Any]]]:
    """The setting that takes most starts to the minimum, or to the lowest median where it ties.

    The starts are those of a seed that is not counted, a quarter as many.

    Returns:
      (best setting, what was tried).
    """
    start_key, key = jax.random.split(jax.random.key(plan.seeds))
    num = max(1, plan.starts_in(cell.dimension) // 4)
    start = starts_of(start_key, cell.case, cell.dimension, num)
    fractions = (0.0,) if method.kind == "plain" else plan.fractions
    tried = []
    for rate, fraction in itertools.product(plan.rates, fractions):
        ends = stages_of(key, cell, method, Setting(rate, fraction), plan, start, samples)
        last = {name: values[-1] for name, values in outcome(cell, ends).items()}
        tried.append({"rate": rate, "fraction": fraction, **last})
    best = min(tried, key=lambda row: (-row["share"], row["gap"]))
    return Setting(best["rate"], best["fraction"]), tried
