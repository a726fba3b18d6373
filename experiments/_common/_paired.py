"""Paired comparisons over seeds, and how little few seeds can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.05


def paired(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """The differences ours − theirs of each seed, their mean and deviation, and p of the t-test.

    p is NaN with a single seed, or where all differences are equal up to rounding.
    """
    difference = ours - theirs
    seeds = len(difference)
    varies = np.ptp(difference) > 1e-6 * max(np.abs(ours).max(), np.abs(theirs).max())
    return {
        "difference": difference.tolist(),
        "mean": float(difference.mean()),
        "std": float(np.std(difference, ddof=1)) if seeds > 1 else float("nan"),
        "p_value": float(stats.ttest_rel(ours, theirs).pvalue) if varies else float("nan"),
    }


def final(row: dict[str, Any], metric: str) -> np.ndarray | None:
    """The metric at the end of a recorded training, (seeds,); None where a seed diverged."""
    return None if row.get("diverged_at") is not None else np.asarray(row[metric], float)[:, -1]


def difference(ours: np.ndarray | None, theirs: np.ndarray | None) -> dict[str, Any] | None:
    """The paired comparison; None where one of the two diverged."""
    return None if ours is None or theirs is None else paired(ours, theirs)


def points(pair: dict[str, Any] | None) -> str:
    """A difference of accuracies, in percentage points."""
    if pair is None:
        return "–"
    spread = "" if np.isnan(pair["std"]) else f" ± {100 * pair['std']:.2f}"
    return f"{round(100 * pair['mean'], 2) + 0.0:+.2f}{spread}"


def p_text(pair: dict[str, Any] | None) -> str:
    """p for a table."""
    return "–" if pair is None or np.isnan(pair["p_value"]) else f"{pair['p_value']:.2g}"


def significance(pair: dict[str, Any] | None) -> str:
    if pair is None:
        return "diverged"
    p = pair["p_value"]
    if np.isnan(p):
        return "no test" if np.any(pair["difference"]) else "equal"
    return f"p = {p:.2g}" + ("" if p < LEVEL else ", not to be told from zero")


def what_seeds_can_tell(seeds: int) -> str:
    """How little a paired t-test over so many seeds finds."""
    if seeds == 1:
        return "With one seed there is no test: a difference may be chance."
    critical = stats.t.ppf(1 - LEVEL / 2, seeds - 1)
    shift = np.sqrt(seeds)
    power = stats.nct.sf(critical, seeds - 1, shift) + stats.nct.cdf(-critical, seeds - 1, shift)
    return (
        f"With {seeds} seeds the paired t-test calls a mean difference significant (p < {LEVEL}) "
        f"only above {critical / shift:.2g} standard deviations of the paired difference, and "
        f"finds a true difference of one such deviation in {100 * power:.0f} % of experiments. "
        "The p values are not corrected for the number of comparisons."
    )
