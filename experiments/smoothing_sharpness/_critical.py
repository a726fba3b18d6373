"""Degrees of smoothing: with C as measured, and as concluded from the critical batch size."""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxnoise as jn

Columns = dict[str, np.ndarray]


def columns_of(runs: list[dict[str, Any]], starts: list[dict[str, Any]]) -> Columns:
    """What was measured, quantity → (runs,); what is missing is NaN."""
    names = [name for name, value in runs[0].items() if np.ndim(value) == 0]
    columns = {name: np.array([run[name] for run in runs], float) for name in names}
    columns["diverged"] = columns["diverged"] == 1
    columns["progress"] = columns["learning_rate"] * columns["steps"]
    start = np.array([row["noise_std"] for row in starts], float)
    columns["start_noise_std"] = start[columns["seed"].astype(int)]
    return columns


def queries_to_reach(epsilon: float, start: float, norms: Any, per_epoch: int) -> float:
    """Gradients of single examples that it takes to bring the running mean of ‖∇L‖ below ε.

    The mean is over the start and the ends of the epochs so far, straight lines between them.

    Args:
      epsilon: ε.
      start: ‖∇L‖ at the start.
      norms: (E,) ‖∇L‖ after each epoch.
      per_epoch: gradients in an epoch.

    Returns:
      Their number, 0 where it starts below ε, infinity where it doesn't get there.
    """
    path = np.array([start, *norms], float)
    running = np.cumsum(path) / np.arange(1, len(path) + 1)
    below = np.flatnonzero(running <= epsilon)
    if not below.size:
        return np.inf
    k = below[0]
    if k == 0:
        return 0.0
    return float(per_epoch * np.interp(-epsilon, [-running[k - 1], -running[k]], [k - 1, k]))


def critical_batches(
    results: dict[int, dict[str, Any]], starts: list[dict[str, Any]], epsilon: float
) -> list[dict[str, Any]]:
    """For each learning rate the batch size b* that reaches ‖∇L‖ ≤ ε with the fewest gradients.

    Args:
      results: batch size → what `trained` gives.
      starts: what `measured_starts` gives.
      epsilon: ε, for the running mean of the norm.

    Returns:
      For each learning rate: "queries", batch size → geometric mean over the seeds, infinity where
      one of them does not get there; "batch_size" b*, None where nobody gets there or somebody is
      there from the start; "at_edge", whether b* is the smallest or largest of the sweep;
      "paper" and "consistent", C² concluded from b*, the latter with the largest eigenvalue of the
      Hessian at the start for L; NaN where there is none.
    """
    smoothness = float(np.mean([row["smoothness"] for row in starts]))
    rates = dict.fromkeys(run["learning_rate"] for run in next(iter(results.values()))["runs"])
    found = []
    for rate in rates:
        queries = {}
        for size, result in results.items():
            mine = [run for run in result["runs"] if run["learning_rate"] == rate]
            counts = [
                queries_to_reach(
                    epsilon,
                    starts[run["seed"]]["gradient_norm"],
                    run["gradient_norms"],
                    result["queries_per_epoch"],
                )
                for run in mine
            ]
            with np.errstate(divide="ignore"):
                queries[size] = float(np.exp(np.mean(np.log(counts))))
        best = min(queries, key=lambda size: queries[size])
        row = {
            "learning_rate": rate,
            "queries": queries,
            "batch_size": best,
            "at_edge": best in (min(queries), max(queries)),
            "smoothness": smoothness,
            "paper": np.nan,
            "consistent": np.nan,
        }
        if not 0 < queries[best] < np.inf:
            row |= {"batch_size": None, "at_edge": False}
        else:
            estimate = jn.gradients.variance_from_critical_batch
            row["paper"] = float(estimate(best, epsilon, rate))
            if smoothness * rate < 2:
                row["consistent"] = float(estimate(best, epsilon, rate, smoothness))
        found.append(row)
    return found


def add_degrees(columns: Columns, critical: list[dict[str, Any]]) -> None:
    """Puts δ = ηC/√b beside the other columns, for every C there is."""
    rates = columns["learning_rate"]
    concluded = {
        kind: np.array([{row["learning_rate"]: row[kind] for row in critical}[r] for r in rates])
        for kind in ("paper", "consistent")
    }
    for kind, noise_std in (
        ("start", columns["start_noise_std"]),
        ("end", columns["noise_std"]),
        ("paper", np.sqrt(concluded["paper"])),
        ("consistent", np.sqrt(concluded["consistent"])),
    ):
        degree = jn.schedules.degree_of_smoothing(rates, columns["batch_size"], noise_std)
        columns[f"delta_{kind}"] = np.asarray(degree, float)


def critical_verdict(critical: list[dict[str, Any]], starts: list[dict[str, Any]]) -> str:
    """C as concluded from b*, beside C as measured."""
    measured = np.mean([row["noise_std"] for row in starts])
    words = []
    for row in critical:
        text = f"η = {row['learning_rate']:g}: "
        if row["batch_size"] is None:
            text += "no b*"
        else:
            edge = ", at the edge of the sweep" if row["at_edge"] else ""
            text += f"b* = {row['batch_size']}{edge}, C = {np.sqrt(row['paper']):.3g}"
            if np.isfinite(row["consistent"]):
                text += f" or {np.sqrt(row['consistent']):.3g}"
        words.append(text)
    return (
        f"C is {measured:.3g} as measured at the start; concluded from the critical batch size in "
        f"the paper's form, or the consistent one: {'; '.join(words)}."
    )
