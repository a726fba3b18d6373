"""Comparisons seed by seed, and what they say in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._common import LEVEL, paired, significance
from ._baselines import BASELINE_TITLES
from ._evaluate import METRICS
from ._variants import VARIANTS

BASE = "base"


def title_of(name: str) -> str:
    return BASELINE_TITLES[name] if name in BASELINE_TITLES else VARIANTS[name].title


def reference_of(rows: dict[str, Any]) -> str | None:
    """What the others are compared with: the whole method, else the first network there is."""
    trained = [name for name in rows if name in VARIANTS]
    return BASE if BASE in trained else (trained[0] if trained else None)


def comparisons(rows: dict[str, Any]) -> dict[str, Any]:
    """Every other row against the reference, and the reference without its post-processing.

    Args:
      rows: name → {"cleaned", "raw"} → metric → one for each seed; a baseline's are single.

    Returns:
      name → metric → pair of `paired`, other − reference; "raw" is the reference's own raw output.
    """
    reference = reference_of(rows)
    if reference is None:
        return {}
    base = rows[reference]["cleaned"]
    others = {name: row["cleaned"] for name, row in rows.items() if name != reference}
    others["raw"] = rows[reference]["raw"]
    return {
        name: {metric: _pair(other[metric], base[metric]) for metric in METRICS}
        for name, other in others.items()
    }


def verdict(rows: dict[str, Any]) -> list[str]:
    """A sentence for each comparison, by Dice and by the F1 of objects."""
    reference = reference_of(rows)
    said = []
    for name, pairs in comparisons(rows).items():
        title = "Without removal of small components" if name == "raw" else title_of(name)
        dice, f1 = pairs["dice"], pairs["f1"]
        said.append(
            f"{title}: {word(dice)} {title_of(reference or name)} by Dice ({numbers(dice)}), "
            f"{word(f1)} it by object F1 ({numbers(f1)})."
        )
    return said


def numbers(pair: dict[str, Any]) -> str:
    """Mean difference, deviation and p; the word before says what p means."""
    return f"{difference(pair)}, {significance(pair).partition(',')[0]}"


def word(pair: dict[str, Any]) -> str:
    if not np.any(pair["difference"]):
        return "equal to"
    if np.isnan(pair["p_value"]) or pair["p_value"] >= LEVEL:
        return "not to be told from"
    return "better than" if pair["mean"] > 0 else "worse than"


def difference(pair: dict[str, Any]) -> str:
    spread = "" if np.isnan(pair["std"]) else f" ± {pair['std']:.3f}"
    return f"{round(pair['mean'], 3) + 0.0:+.3f}{spread}"


def _pair(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """A method without seeds has the same value beside every seed."""
    values = np.array(ours, float)
    return paired(np.resize(values, len(theirs)), np.array(theirs, float))
