"""Tables and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, Table, mean_and_std
from ._compare import shares, split_decays, title
from ._config import Config, Plan
from ._figures import (
    draw_gaps,
    draw_line,
    draw_plane,
    draw_schedules,
    draw_shares,
    draw_surface,
)
from ._methods import lower_bound, methods_of, rates_of_decay
from ._nice import RADIUS_FACTOR
from ._schedules import NUM_STEPS


def share_table(cells: list[dict[str, Any]], plan: Plan, budget: str) -> Table:
    """The share of starts at the minimum in per cent, for each case and method."""
    methods = methods_of(plan)
    body = [
        [title(cell), *(percent(shares(cell[budget][short])) for short in methods)]
        for cell in cells
    ]
    return ["function", *map(short_name, methods)], body


def setting_table(cells: list[dict[str, Any]], plan: Plan) -> Table:
    """What was chosen at equal gradients: c and δ_1 in its units, a star at the ends of a grid."""
    methods = methods_of(plan)
    body = []
    for cell in cells:
        chosen = [chosen_text(cell["gradients"][short], plan) for short in methods]
        body.append([title(cell), f"{cell['curvature']:.3g}", *chosen])
    return ["function", "L", *map(short_name, methods)], body


def chosen_text(row: dict[str, Any], plan: Plan) -> str:
    pairs = [(row["rate"], plan.rates), (row["fraction"], plan.fractions)]
    return "; ".join(
        f"{value:.3g}" + "*" * (value in (min(grid), max(grid))) for value, grid in pairs if value
    )


def short_name(short: str) -> str:
    return {"descent": "descent", "sgd": "SGD", "sgd_fading": "SGD, fading"}.get(short, short)


def percent(values: np.ndarray) -> str:
    return mean_and_std(100 * values)


def decay_table_of(plan: Plan) -> Table:
    """The decays of graduated descent and their slowest and fastest rates."""
    inside, _ = split_decays(plan)
    body = []
    for short, method in methods_of(plan).items():
        if method.kind == "smoothed":
            gamma = rates_of_decay(method)
            rates = [f"{gamma.max():.3f}", f"{gamma.min():.3f}"] if gamma.size else ["–", "–"]
            last = f"{method.fading[-1]:.3g}"
            body.append([short, *rates, last, "yes" if short in inside else "no"])
    bound = lower_bound(plan.a)
    return ["decay", "first γ", "last γ", "δ_M/δ_1", f"all γ in ({bound:.3g}, 1)"], body


def first_table(table: dict[str, Any]) -> Table:
    """The first steps at which schedules leave the admissible regions."""
    regions = zip(table["regions"], table["bounds"], strict=True)
    names = [f"a = {a:g}, cos θ = {c:g}: γ ≤ {b:.3g}" for (a, c), b in regions]
    body = [
        [name, *("never" if step is None else str(step) for step in steps)]
        for name, steps in table["first"].items()
    ]
    return ["schedule", "no decay", *names], body


def probability_table(table: dict[str, Any]) -> Table:
    header = ["dimensions", *(f"a = {a:g}" for a in table["sizes"])]
    by_dimension = zip(table["dimensions"], np.transpose(table["probability"]), strict=True)
    return header, [[str(d), *(f"{p:.2g}" for p in row)] for d, row in by_dimension]


def nice_table(nice: dict[str, Any]) -> Table:
    """Stages that disagree with the conditions, of how many."""
    header = [
        "function, decay", "(i) fails", "(ii) fails", "‖x*_δ − x*‖ > δ", "least σ",
        "new σ-nice", "σ-nice",
    ]  # fmt: skip
    body = []
    for name, by_decay in nice.items():
        for decay, found in by_decay.items():
            flags = (found[key] for key in ("follows", "is_convex", "is_within_delta"))
            fails = [f"{len(flag) - sum(flag)} of {len(flag)}" for flag in flags]
            nices = ["not refuted" if found[key] else "no" for key in ("is_new_nice", "is_nice")]
            body.append([f"{name}, {decay}", *fails, f"{min(found['convexity']):.3g}", *nices])
    return header, body


def picture(parts: dict[str, Any], plan: Plan) -> Figure:
    """What fits a README: the path through the smoothings, and the shares."""
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    if "smoothing" in parts:
        draw_line(parts["smoothing"]["1"], left)
    if cells := parts.get("descent"):
        draw_shares(cells, "gradients", {m: short_name(m) for m in methods_of(plan)}, right)
    for ax in (left, right):
        ax.set_visible(ax.has_data())
    return figure


def write_report(
    config: Config,
    plan: Plan,
    parts: dict[str, Any],
    said: list[str],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Does smoothing lead to the lowest of many minima?")
    report.heading("What the runs say")
    for line in said:
        report.text(line)
    if "smoothing" in parts:
        report_smoothing(report, parts["smoothing"])
    if "schedules" in parts:
        report_schedules(report, parts["schedules"])
    if parts.get("nice"):
        report_nice(report, parts["nice"])
    if parts.get("descent"):
        report_descent(report, parts["descent"], plan)
    report.heading("Where and how")
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    report.provenance("graduated_toy", settings, where, seconds)
    return report


def report_smoothing(report: Report, data: dict[str, Any]) -> None:
    report.heading("The path through the smoothings")
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    draw_line(data["1"], figure.subplots())
    report.figure(
        figure,
        "Two wells in a bowl under waves, and its smoothings over the ball. Graduated descent from "
        "the ring on the far right: thick, the way of each stage; dotted, to the next smoothing.",
    )
    figure = Figure(figsize=(15, 7.5), layout="constrained")
    stages = (0, 2, 3, 4)
    for number, stage in enumerate(stages):
        surface = figure.add_subplot(2, len(stages), number + 1, projection="3d")
        draw_surface(data["2"], stage, surface)
        draw_plane(data["2"], stage, figure.add_subplot(2, len(stages), len(stages) + number + 1))
    report.figure(figure, "The same in the plane; cross: the global minimum of f.")


def report_schedules(report: Report, table: dict[str, Any]) -> None:
    report.heading("Schedules and how fast they may decay")
    figure = Figure(figsize=(15, 8), layout="constrained")
    draw_schedules(table, figure.subplots(2, 3))
    report.figure(
        figure,
        f"Schedules over {NUM_STEPS} steps and their decay rates; grey: the admissible rates.",
    )
    report.text(
        "The first step t at which a schedule doesn't decay (γ_t = 1) or decays faster than the "
        "region allows. The last step is not asked, after which a schedule may be zero."
    )
    report.table(*first_table(table))
    report.text("The share of random directions for which some decay rate is admissible:")
    report.table(*probability_table(table))


def report_nice(report: Report, nice: dict[str, Any]) -> None:
    report.heading("Are the functions nice?")
    report.text(
        "Stages at which samples disagree with new σ-nice: (i) the minimiser moves by no more than "
        f"δ_m − δ_(m+1); (ii) f̂ is strongly convex within {RADIUS_FACTOR:g} δ_m of x*. What no "
        "sample refutes is not thereby proved; and where f̂ bends less than it errs, a failure of "
        "(ii) says nothing, as with Griewank's function at large δ (σ is that of a mean over 1024 "
        "shifts)."
    )
    report.table(*nice_table(nice))


def report_descent(report: Report, cells: list[dict[str, Any]], plan: Plan) -> None:
    names = {short: short_name(short) for short in methods_of(plan)}
    report.heading("From how many starts the global minimum is reached")
    report.text(
        f"Starts are uniform in the domain; seeds 0…{plan.seeds - 1}, "
        + ", ".join(f"{plan.starts_in(d)} starts each in {d}" for d in plan.dimensions)
        + " dimensions. A start counts if the last point lies in a ball around the global "
        "minimiser that is part of its basin. "
        f"Graduated descent makes {plan.stages} stages of {plan.steps} steps of {plan.samples} "
        "gradients (normal shifts of low discrepancy, new in each step), then "
        f"{plan.finish} steps on f at 1/L: {plan.gradients(plan.samples)} gradients. At equal "
        f"gradients, descent and SGD make {plan.samples} times as many steps before the last "
        f"{plan.finish}, which they make, too; at equal steps, {2 * plan.finish} steps in all. "
        "SGD's noise is normal, δ = ηs."
    )
    report.table(*decay_table_of(plan))
    for budget in ("gradients", "steps"):
        report.heading(f"At equal numbers of {budget}: share of starts, %")
        report.table(*share_table(cells, plan, budget))
        figure = Figure(figsize=(9, 1.5 + 0.28 * len(cells)), layout="constrained")
        draw_shares(cells, budget, names, figure.subplots())
        report.figure(figure, "Mean over the seeds.")
    report.heading("On the way")
    shown = [cell for cell in cells if cell["dimension"] == 10] or cells[-6:]
    figure = Figure(figsize=(14, 4 * -(-len(shown) // 3)), layout="constrained")
    axes = figure.subplots(-(-len(shown) // 3), 3, squeeze=False)
    for cell, ax in zip(shown, axes.flat, strict=False):
        draw_gaps(cell, methods_of(plan), ax)
    axes.flat[0].legend(fontsize="x-small")
    for ax in axes.flat:
        ax.set_visible(ax.has_data())
    report.figure(
        figure, "Median of f − f* over the starts after each stage; the last is that on f itself."
    )
    report.heading("What was chosen")
    report.text(
        "c of the step c/L and δ_1 in units of a quarter of the domain, for each method at equal "
        "gradients, by the share of starts of a further seed, then by the median of f. A star "
        "marks the end of the grid, beyond which a better one may lie."
    )
    report.table(*setting_table(cells, plan))
