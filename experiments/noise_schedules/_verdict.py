"""What the comparisons say in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._common import LEVEL, points, significance
from ._compare import (
    ACCURACY_ORDER,
    LOSS_ORDER,
    against_rates,
    compared,
    departure,
    held,
    small_powers_against,
    smoothing,
)
from ._methods import METHODS, STARTS

Pair = dict[str, Any] | None


def times(pair: Pair) -> str:
    """A ratio of losses, the geometric mean over the seeds."""
    return "–" if pair is None else f"{np.exp(pair['mean']):.3g}"


def is_sure(pair: Pair) -> bool:
    return pair is not None and pair["p_value"] < LEVEL


def methods_verdict(where: str, start: str, rows: dict[str, Any], decay: float) -> list[str]:
    """The two orders that are claimed, and the schedule by measurement against the fixed one."""
    where = f"{where}, {STARTS[start]}"
    accuracy = order(ACCURACY_ORDER, rows, "test_accuracy", sign=1)
    loss = order(LOSS_ORDER, rows, "train_loss", sign=-1)
    measured = compared(rows["measured"], rows["hybrid"])
    degrees = {method: smoothing(row, method, decay) for method, row in rows.items()}
    found = {method: departure(of_method) for method, of_method in degrees.items()}
    fixed = ", ".join(f"{number(m)}: {x:.3g}" for m, x in found.items() if m != "measured")
    close, of = held(degrees["measured"])
    kept = (
        f"a factor of typically {found['measured']:.3g} away from what it is meant to be with 5, "
        f"and within 5 % of it at {close} of {of} (stages and seeds; elsewhere the limits are "
        "reached)"
        if of
        else "not known with 5, which finished no later stage"
    )
    return [
        f"{where}, test accuracy 4 ≥ 3 > 2 > 1: {accuracy}",
        f"{where}, training loss 3 < 4 < 2: {loss}",
        f"{where}, 5 by measurement against 4: {points(measured['test_accuracy'])} points of test "
        f"accuracy ({significance(measured['test_accuracy'])}), {times(measured['train_loss'])} "
        f"times the training loss ({significance(measured['train_loss'])}).",
        f"{where}: at the beginning of the later stages δ is {kept}; the factors of the others are "
        f"{fixed}.",
    ]


def order(
    claims: Sequence[tuple[str, str, str]], rows: dict[str, Any], metric: str, sign: int
) -> str:
    """Each claimed step from one method to the next, and how many of them are found."""
    words, found, against = [], 0, 0
    for ours, theirs, relation in claims:
        pair = compared(rows[ours], rows[theirs])[metric]
        agrees = pair is not None and sign * pair["mean"] > 0
        contrary = is_sure(pair) and not agrees
        found += pair is not None and not contrary if relation == "≥" else is_sure(pair) and agrees
        against += contrary
        value = f"{points(pair)} points" if sign > 0 else f"{times(pair)} times"
        words.append(f"{number(ours)} over {number(theirs)} {value} ({significance(pair)})")
    return (
        f"{'; '.join(words)}. Of the {len(claims)} steps {found} "
        f"{'is' if found == 1 else 'are'} found, {against} go{'es' if against == 1 else ''} the "
        f"other way with p < {LEVEL}."
    )


def number(method: str) -> str:
    return METHODS[method].partition(",")[0]


def schedules_verdict(where: str, rows: dict[str, Any]) -> list[str]:
    """Small powers of the polynomial against everything else."""
    said = []
    pairs = small_powers_against(rows)
    for metric, sign, text, what in (
        ("test_accuracy", 1, points, "points of test accuracy"),
        ("train_loss", -1, times, "times the training loss"),
    ):
        found = {title: pair[metric] for title, pair in pairs.items()}
        better = [t for t, pair in found.items() if is_sure(pair) and sign * pair["mean"] > 0]
        worse = [t for t, pair in found.items() if is_sure(pair) and sign * pair["mean"] < 0]
        words = [f"{text(pair)} over {t} ({significance(pair)})" for t, pair in found.items()]
        said.append(
            f"{where}, polynomials of p ≤ 1, their mean, in {what}: {'; '.join(words)}. Better "
            f"with p < {LEVEL} than {len(better)} of the {len(found)} others"
            f"{listed(better)}, worse than {len(worse)}{listed(worse)}."
        )
    return said


def listed(titles: list[str]) -> str:
    return f" ({', '.join(titles)})" if titles else ""


def rates_verdict(where: str, rows: dict[str, Any]) -> list[str]:
    """How far the sum of the learning rates alone tells loss and accuracy."""
    loss, accuracy = (against_rates(rows, metric) for metric in ("train_loss", "test_accuracy"))
    if loss is None or accuracy is None:
        return []
    return [
        f"{where}: over {len(rows)} runs Spearman's rank correlation of Σ η, the sum of the "
        f"learning rates over all steps, is {loss:+.2f} with the training loss and {accuracy:+.2f} "
        "with the test accuracy."
    ]
