"""Comparisons seed by seed, and what they say in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._common import LEVEL, paired, significance
from ._methods import METHODS
from ._score import METRICS

METRIC_NAMES = {"per_pixel": "per-pixel", "per_class": "per-class", "class_iou": "class IOU"}
FORMS = ("paper", "reference")
AGAINST = ("adam", "mean_step")
WORDS = ("better than", "worse than", "not to be told from")


def comparisons(rows: dict[str, Any]) -> dict[str, Any]:
    """Each method against Adam, and the forms of TRAdam against Adam at the mean step.

    Args:
      rows: method → {"scores": scorer → metric → one for each seed, "l1": one for each seed}.

    Returns:
      "method over other" → scorer → metric → pair; "l1" beside the scorers.
    """
    pairs = [(m, "adam") for m in METHODS if m != "adam"] + [(m, "mean_step") for m in FORMS]
    return {
        f"{ours} over {theirs}": {
            **{
                scorer: {
                    metric: paired(
                        *(np.array(rows[m]["scores"][scorer][metric]) for m in (ours, theirs))
                    )
                    for metric in METRICS
                }
                for scorer in rows[ours]["scores"]
            },
            "l1": paired(*(np.array(rows[m]["l1"]) for m in (ours, theirs))),
        }
        for ours, theirs in pairs
    }


def verdict(data: str, rows: dict[str, Any]) -> list[str]:
    """What the runs on one data set say of each form of TRAdam, for each scorer."""
    found = comparisons(rows)
    return [
        f"{data}, {scorer}: {METHODS[form]} is "
        + " It is ".join(
            against(METHODS[other], found[f"{form} over {other}"][scorer]) for other in AGAINST
        )
        for scorer in rows["adam"]["scores"]
        for form in FORMS
    ]


def summary(cells: dict[str, dict[str, Any]], seeds: int) -> list[str]:
    """How often each form of TRAdam beats Adam, and Adam at the mean step, by class IOU."""
    said = []
    for form in FORMS:
        for other in AGAINST:
            words = [
                word(pairs["class_iou"])
                for rows in cells.values()
                for name, pairs in comparisons(rows)[f"{form} over {other}"].items()
                if name != "l1"
            ]
            counts = ", ".join(f"{w} {words.count(w)} times" for w in WORDS)
            said.append(
                f"{METHODS[form]} against {METHODS[other]}, class IOU of {len(words)} pairs of "
                f"data set and scorer, {seeds} seed{'s' if seeds > 1 else ''}: {counts}."
            )
    return said


def against(other: str, pairs: dict[str, Any]) -> str:
    """One comparison: the word by class IOU, with the numbers of all metrics behind it."""
    numbers = "; ".join(
        f"{METRIC_NAMES[metric]} {difference(pairs[metric])}, {significance(pairs[metric])}"
        for metric in reversed(METRICS)
    )
    return f"{word(pairs['class_iou'])} {other} by class IOU ({numbers})."


def word(pair: dict[str, Any]) -> str:
    better, worse, unclear = WORDS
    p = pair["p_value"]
    if np.isnan(p) or p >= LEVEL:
        return unclear
    return better if pair["mean"] > 0 else worse


def difference(pair: dict[str, Any]) -> str:
    spread = "" if np.isnan(pair["std"]) else f" ± {pair['std']:.3f}"
    return f"{round(pair['mean'], 3) + 0.0:+.3f}{spread}"
