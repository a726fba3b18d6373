"""Comparisons seed by seed, and what they say in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._common import LEVEL, difference, final, paired, points, significance
from ._methods import BASE, FORMS, name_of

# What the gain over the base is set beside: parts of the algorithm, and lower learning rates.
BESIDE = ("schedule", "mean_step", "best_rate")


def comparisons(rows: dict[str, Any], metric: str = "test_accuracy") -> dict[str, Any]:
    """The methods of one cell against each other.

    Args:
      rows: method → its recorded run.
      metric: what is compared, at the end of training.

    Returns:
      "over_base": method → pair; "forms": form of the algorithm → its gain over the base, over
      the base at the mean step and over it at its best rate, that of the form at its best rate
      over the base at its own, and what of its gain is left over the sum of those of pull and
      inner schedule.
    """
    ends = {method: final(row, metric) for method, row in rows.items()}
    base, schedule = ends["base"], ends["schedule"]
    over_base = {m: difference(end, base) for m, end in ends.items() if m != "base"}
    forms = {}
    for form, pull in FORMS.items():
        alone, parts = ends[pull], None
        if base is not None and alone is not None and schedule is not None:
            parts = alone + schedule - base
        forms[form] = {
            "gain": over_base[form],
            "pull": over_base[pull],
            **{key: over_base[key] for key in BESIDE},
            "left_over": difference(ends[form], parts),
            "over_mean_step": difference(ends[form], ends["mean_step"]),
            "over_best_rate": difference(ends[form], ends["best_rate"]),
            "best_over_best": difference(ends[f"{form}_best"], ends["best_rate"]),
        }
    return {"over_base": over_base, "forms": forms}


def noise_ratios(rows: dict[str, Any]) -> dict[str, Any]:
    """tr Σ along each trajectory over that along the base's, by epoch and as geometric mean.

    p is that of log tr Σ, averaged over the epochs, against the base's. "loss_ratio" is the same
    ratio of the losses, whose fall makes tr Σ fall.
    """
    logs = {}
    for method, row in rows.items():
        if row["noise"] and row["diverged_at"] is None:
            keys = ("covariance_trace", "loss")
            curves = (np.asarray(row["noise"][key], float) for key in keys)
            logs[method] = [np.log(np.maximum(c, np.finfo(float).tiny)) for c in curves]
    base = logs.pop("base", None)
    if base is None:
        return {}
    found = {}
    for method, (trace, loss) in logs.items():
        pair = paired(trace.mean(1), base[0].mean(1))
        found[method] = {
            "by_epoch": np.exp((trace - base[0]).mean(0)),
            "by_seed": np.exp(pair["difference"]),
            "ratio": float(np.exp(pair["mean"])),
            "loss_ratio": float(np.exp((loss - base[1]).mean())),
            "p_value": pair["p_value"],
        }
    return found


def verdict(where: str, family: str, rows: dict[str, Any]) -> list[str]:
    """What the runs of one cell say: each form's gain, its parts and controls, and tr Σ."""
    base, forms = BASE[family], comparisons(rows)["forms"]
    said = []
    for form, gains in forms.items():
        name = name_of(form, family)
        if gains["gain"] is None:
            gone = [m for m in ("base", form) if rows[m]["diverged_at"] is not None]
            names = " and ".join(name_of(m, family) for m in gone)
            said.append(f"{where}, {name}: no comparison, {names} diverged.")
            continue
        text = {key: f"{points(pair)} ({significance(pair)})" for key, pair in gains.items()}
        said.append(
            f"{where}, {name}: {points(gains['gain'])} points of test accuracy over {base} "
            f"({significance(gains['gain'])}). The pull alone "
            f"gives {text['pull']}, the inner schedule alone {text['schedule']}, a lower learning "
            f"rate alone {text['mean_step']}. Over {base} at the mean step: "
            f"{text['over_mean_step']}; over {base} at its best rate: {text['over_best_rate']}; "
            f"both at their best rates: {text['best_over_best']}."
        )
    ratios = noise_ratios(rows)
    said += [
        f"{where}, variance: " + noise_verdict(name_of(form, family), base, form, ratios)
        for form in FORMS
        if form in ratios
    ]
    if "noise_with_pull" in rows["paper"]:
        said.append(
            f"{where}, variance at the same parameters, the last of TR{base}'s: tr Σ with the pull "
            f"is {rows['paper']['noise_with_pull']:.5f} times that without it."
        )
    return said


def noise_verdict(name: str, base: str, form: str, ratios: dict[str, Any]) -> str:
    ratio, p = ratios[form]["ratio"], ratios[form]["p_value"]
    kind = "larger" if ratio > 1 else "smaller"
    told = f"{kind}, p = {p:.2g}" if p < LEVEL else f"not to be told from it, p = {p:.2g}"
    control = ""
    if "mean_step" in ratios:
        control = f" Along {base} at the mean step it is {ratios['mean_step']['ratio']:.3g} times."
    return (
        f"tr Σ along {name} is {ratio:.3g} times that along {base} at the same learning rate "
        f"({'no test' if np.isnan(p) else told}), at {ratios[form]['loss_ratio']:.3g} times the "
        f"loss.{control}"
    )


def groups_by_batch_size(cells: list[Any]) -> dict[str, list[Any]]:
    """The cells that differ in nothing but the batch size, where there are several of them."""
    groups: dict[str, list[Any]] = {}
    for cell in cells:
        title = f"{cell.task.network}, {cell.task.data}, {BASE[cell.family]}, S = {cell.period}"
        groups.setdefault(title, []).append(cell)
    return {title: group for title, group in groups.items() if len(group) > 1}


def batch_verdict(where: str, cells: list[Any]) -> list[str]:
    """Whether the gain is largest for the smallest batches, as the paper says.

    Args:
      where: what the cells have in common.
      cells: one for each batch size.
    """
    said = []
    for form in FORMS:
        found = {cell.batch_size: comparisons(cell.rows)["forms"][form]["gain"] for cell in cells}
        gains = {b: gain for b, gain in sorted(found.items()) if gain is not None}
        if len(gains) > 1:
            largest = max(gains, key=lambda b: gains[b]["mean"])
            place = "largest" if largest == min(gains) else "not largest"
            family = cells[0].family
            said.append(
                f"{where}, {name_of(form, family)}, points over {BASE[family]} by batch size: "
                + ", ".join(f"{b}: {points(gain)}" for b, gain in gains.items())
                + f". The gain is {place} at the smallest batch."
            )
    return said
