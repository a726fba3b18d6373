"""Comparisons seed by seed, and what they say in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._common import LEVEL, paired
from ._config import Plan
from ._methods import is_admissible, methods_of

Row = dict[str, Any]
OF_ALL = "p = 0.5"  # the graduated descent that stands for all, where it is among them


def shares(row: Row) -> np.ndarray:
    """(seeds,) at the end."""
    return np.asarray(row["share"], float)[:, -1]


def sign(ours: np.ndarray, theirs: np.ndarray) -> int:
    """1 where ours is the larger, −1 where it is the smaller, 0 where seeds can't tell.

    Differences that are the same for all seeds can be told where they aren't zero.
    """
    pair = paired(ours, theirs)
    if len(ours) > 1 and np.isnan(pair["p_value"]):
        return int(np.sign(round(pair["mean"], 9)))
    return int(np.sign(pair["mean"])) if pair["p_value"] < LEVEL else 0


def representative(plan: Plan) -> str:
    """The graduated descent that is set beside descent and SGD."""
    names = [name for name, method in methods_of(plan).items() if method.kind == "smoothed"]
    return OF_ALL if OF_ALL in names else names[0]


def title(cell: Row) -> str:
    return f"{cell['name']} {cell['dimension']}-D"


def wins(cells: list[Row], budget: str, ours: Callable, theirs: Callable) -> dict[int, list[str]]:
    """Where ours reaches the minimum from more starts (1), from fewer (−1), neither (0).

    Args:
      cells: what was counted.
      budget: "gradients" or "steps".
      ours, theirs: rows by method → (seeds,) shares.
    """
    found: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for cell in cells:
        found[sign(ours(cell[budget]), theirs(cell[budget]))].append(title(cell))
    return found


def sentence(start: str, found: dict[int, list[str]]) -> str:
    """In words, with the names of the cases, but for the longest list of them."""
    longest = max(found, key=lambda key: len(found[key]))

    def named(key: int) -> str:
        names = ", ".join(found[key])
        return f"{len(found[key])} ({names})" if names and key != longest else f"{len(found[key])}"

    total = sum(map(len, found.values()))
    return (
        f"{start} from more starts in {named(1)} of {total} cases, from fewer in {named(-1)}; no "
        f"difference is found in {named(0)}."
    )


def mean_shares(names: list[str]) -> Callable[[dict[str, Row]], np.ndarray]:
    """Rows by method → the share of each seed, averaged over these methods."""
    return lambda rows: np.mean([shares(rows[name]) for name in names], axis=0)


def verdict(cells: list[Row], plan: Plan) -> list[str]:
    """Graduated descent against descent and SGD, at both budgets; then decays among themselves."""
    if not cells:
        return []
    methods, best = methods_of(plan), representative(plan)
    said = []
    for budget in ("gradients", "steps"):
        for other in ("descent", "sgd", "sgd_fading"):
            found = wins(cells, budget, mean_shares([best]), mean_shares([other]))
            start = (
                f"At equal numbers of {budget}, {methods[best].name}, against "
                f"{methods[other].name}, reaches the global minimum"
            )
            said.append(sentence(start, found))
    for dimension in dict.fromkeys(cell["dimension"] for cell in cells):
        those = [cell for cell in cells if cell["dimension"] == dimension]
        means = ", ".join(
            f"{methods[name].name} {100 * mean_over(those, name):.1f} %"
            for name in ("descent", "sgd", "sgd_fading", best)
        )
        said.append(
            f"{dimension} dimension{'s' * (dimension > 1)}, mean share over {len(those)} "
            f"functions at equal gradients: {means}."
        )
    return said + decay_verdict(cells, plan)


def mean_over(cells: list[Row], method: str) -> float:
    return float(np.mean([shares(cell["gradients"][method]).mean() for cell in cells]))


def decay_verdict(cells: list[Row], plan: Plan) -> list[str]:
    """The decays by their mean share, and those in the admissible region against the others."""
    inside, outside = split_decays(plan)
    means = {name: mean_over(cells, name) for name in (*inside, *outside)}
    ranked = sorted(means, key=lambda name: -means[name])
    listed = ", ".join(
        f"{name} {100 * means[name]:.1f} % ({'inside' if name in inside else 'outside'})"
        for name in ranked
    )
    said = [
        f"Mean share of graduated descent over all {len(cells)} cases by decay, inside the "
        f"admissible region of a = {plan.a:g} or outside: {listed}."
    ]
    if not inside or not outside:
        return said
    ours, theirs = (max(names, key=lambda name: means[name]) for names in (inside, outside))
    for text, these, those in (
        (f"the best decay inside ({ours}), against the best outside ({theirs})", [ours], [theirs]),
        ("the decays inside on average, against those outside", inside, outside),
    ):
        found = wins(cells, "gradients", mean_shares(these), mean_shares(those))
        said.append(sentence(f"With {text}, the minimum is reached", found))
    return said


def split_decays(plan: Plan) -> tuple[list[str], list[str]]:
    """The graduated methods inside the admissible region, and the others."""
    graduated = {n: m for n, m in methods_of(plan).items() if m.kind == "smoothed"}
    inside = [name for name, method in graduated.items() if is_admissible(method, plan.a)]
    return inside, [name for name in graduated if name not in inside]


def nice_verdict(nice: dict[str, Any]) -> list[str]:
    """For how many functions the samples leave niceness open."""
    reports = [found for by_decay in nice.values() for found in by_decay.values()]
    if not reports:
        return []
    follows, convex = (
        sum(all(found[key]) for found in reports) for key in ("follows", "is_convex")
    )
    new, old = (sum(found[key] for found in reports) for key in ("is_new_nice", "is_nice"))
    return [
        f"Of {len(reports)} functions with a sequence of δ in one or two dimensions, samples leave "
        f"new σ-nice open for {new} and σ-nice for {old}; of the conditions of the former, (i) for "
        f"{follows} and (ii) for {convex}."
    ]
