"""Comparisons seed by seed, and the degrees of smoothing that the stages really had."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from .._common import difference, final, paired
from ._schedules import LARGE_POWERS, SMALL_POWERS, polynomial

# Which method is claimed to be better than which, and whether it may also be equal.
ACCURACY_ORDER = (
    ("hybrid", "grow_batch", "≥"),
    ("grow_batch", "decay_lr", ">"),
    ("decay_lr", "constant", ">"),
)
LOSS_ORDER = (("grow_batch", "hybrid", "<"), ("hybrid", "decay_lr", "<"))


def ratio(ours: np.ndarray | None, theirs: np.ndarray | None) -> dict[str, Any] | None:
    """Of losses, seed by seed: the paired comparison of their logarithms."""
    return None if ours is None or theirs is None else paired(np.log(ours), np.log(theirs))


def compared(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """ "test_accuracy" as a difference, "train_loss" as a ratio."""
    return {
        "test_accuracy": difference(final(ours, "test_accuracy"), final(theirs, "test_accuracy")),
        "train_loss": ratio(final(ours, "train_loss"), final(theirs, "train_loss")),
    }


def smoothing(row: dict[str, Any], method: str, decay: float) -> dict[str, np.ndarray]:
    """δ = ηC/√b at the beginning and at the end of each stage, and what it was meant to be.

    Returns:
      "begin", "end" and "intended", (stages, seeds); of a run that diverged without the last stage.
      What is meant is δ of the first stage, times the decay for each stage but where all is
      constant.
    """
    noise = np.asarray(row["noise_stds"], float)
    stages = len(noise) - 1
    rates, sizes = np.asarray(row["learning_rates"], float), np.asarray(row["batch_sizes"], float)
    of_gradient = (rates / np.sqrt(sizes)[:, None])[:stages]
    begin = of_gradient * noise[:-1]
    factor = 1.0 if method == "constant" else decay
    return {
        "begin": begin,
        "end": of_gradient * noise[1:],
        "intended": begin[:1] * factor ** np.arange(stages)[:, None],
    }


def departure(degrees: dict[str, np.ndarray]) -> float:
    """The typical factor by which δ departs from what is meant, at the later stages' beginnings.

    It is e to the root mean square of ln(δ/δ meant) over these stages and the seeds.
    """
    logs = np.log(degrees["begin"] / degrees["intended"])[1:]
    return float(np.exp(np.sqrt(np.mean(logs**2)))) if logs.size else float("nan")


def held(degrees: dict[str, np.ndarray]) -> tuple[int, int]:
    """At how many beginnings of later stages δ is within 5 % of what is meant, and of how many."""
    close = np.isclose(degrees["begin"], degrees["intended"], rtol=0.05, atol=0)[1:]
    return int(close.sum()), close.size


def sum_of_rates(row: dict[str, Any]) -> float:
    """Σ η over all steps, mean over the seeds: how far SGD could go along a constant gradient."""
    rates = np.asarray(row["learning_rates"], float)  # by stage or epoch
    steps = np.diff(np.asarray(row["steps"], float), prepend=0)
    if rates.ndim == 2:
        rates = rates.mean(1)
    by_epoch = np.repeat(rates, -(-len(steps) // len(rates)))[: len(steps)]
    return float(np.sum(by_epoch * steps))


def against_rates(rows: dict[str, Any], metric: str) -> float | None:
    """Spearman's rank correlation of a metric at the end with Σ η, over runs; None below three."""
    ends = {title: final(row, metric) for title, row in rows.items()}
    pairs = [(sum_of_rates(rows[t]), end.mean()) for t, end in ends.items() if end is not None]
    if len(pairs) < 3:
        return None
    found: Any = stats.spearmanr(*np.transpose(pairs))
    return float(found.statistic)


def small_powers_against(rows: dict[str, Any]) -> dict[str, Any]:
    """Title → the mean over the polynomials of p ≤ 1, seed by seed, against that schedule."""
    small = [rows[polynomial(p)] for p in SMALL_POWERS]
    accuracy = np.mean([row["test_accuracy"] for row in small], axis=0)[:, -1]
    loss = stats.gmean([row["train_loss"] for row in small], axis=0)[:, -1]
    others = [polynomial(p) for p in LARGE_POWERS]
    others += [t for t in rows if not t.startswith("polynomial")]
    return {
        title: {
            "test_accuracy": difference(accuracy, final(rows[title], "test_accuracy")),
            "train_loss": ratio(loss, final(rows[title], "train_loss")),
        }
        for title in others
    }
