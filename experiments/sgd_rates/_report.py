"""Tables, sentences and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, mean_and_std
from ._config import Config, Plan
from ._figures import draw_known_floors, draw_resnet, draw_rows, draw_tuned, named
from ._regression import CONDITION, DIMENSION, NUM_EXAMPLES, VARIANCE

Table = tuple[list[str], list[list[str]]]
_SHOWN = ("γ = 1/L", "γ = 0.25/L", "γ = 0.0625/L", "γ = 0.25/L, B = 64", "γ decaying")
_SHOWN_CONVEX = ("γ = 0.5/L", "γ = 0.125/L", "γ = 0.03125/L", "γ = 0.125/L, B = 16", "γ decaying")


def bound_table(rows: list[dict[str, Any]], what: str, *, sharp: str | None = None) -> Table:
    """What the runs end with beside the bound, and the largest ratio along the way."""
    header = ["setting", "γ", "σ²", f"{what} at the end", "bound", "largest mean/bound"]
    header += [f"… {sharp}"] if sharp else []
    body = []
    for row in rows:
        error = f" ± {row['error'][-1]:.2g}"
        line = [
            row["name"],
            "–" if row["step_size"] is None else f"{row['step_size']:.3g}",
            f"{row['variance']:.3g}",
            f"{row['mean'][-1]:.3g}{error}",
            "none" if row["bound"][-1] is None else f"{row['bound'][-1]:.3g}",
            "–" if row["bound"][-1] is None else f"{row['largest_ratio']:.3g}",
        ]
        body.append([*line, f"{row['largest_sharp_ratio']:.3g}"] if sharp else line)
    return header, body


def slope_text(slope: dict[str, float]) -> str:
    error = slope["error"]
    return f"{slope['slope']:.3f}" + ("" if error is None else f" ± {error:.3f}")


def floor_table(found: dict[str, Any]) -> Table:
    """Floors of the regression with noise of known variance, by step size and batch size."""
    known, first = found["known"], found["batch_sizes"][0]
    header = ["γL", "B", "floor of E f − f*", "exact", "sharp bound"]
    convex = found["strong_convexity"]
    body = []
    cells = [(share, first) for share in found["shares"]] + [
        (0.25, b) for b in found["batch_sizes"]
    ]
    floors = np.concatenate([known["floors_by_step"], known["floors_by_batch"]], 1)
    exact = [*known["exact_by_step"], *known["exact_by_batch"]]
    for (share, batch), values, true in zip(cells, floors.T, exact, strict=True):
        sharp = share * VARIANCE / (2 * convex * batch)
        body.append(
            [f"{share:g}", str(batch), mean_and_error(values), f"{true:.4g}", f"{sharp:.3g}"]
        )
    return header, body


def resnet_table(found: dict[str, Any]) -> Table:
    header = ["batch size", "steps", "examples", "train loss", "test accuracy", "time"]
    body = [
        [
            str(row["batch_size"]),
            str(row["steps"][-1]),
            str(row["gradient_queries"][-1]),
            mean_and_std(np.array(row["train_loss"])[:, -1]),
            mean_and_std(np.array(row["test_accuracy"])[:, -1], 4),
            f"{row['seconds']:.0f} s",
        ]
        for row in found["rows"].values()
    ]
    return header, body


def tables_of(parts: dict[str, Any]) -> dict[str, Table]:
    """The tables that are printed and kept, by title."""
    tables = {}
    if found := parts.get("regression"):
        gap, half = "E f − f*", "half the floor"
        tables["linear regression, noise of known variance"] = bound_table(
            found["known"]["rows"], gap, sharp=half
        )
        tables["its floors"] = floor_table(found)
        tables["linear regression, components drawn from the data"] = bound_table(
            found["drawn"]["rows"], gap, sharp=half
        )
    if found := parts.get("logistic"):
        title = "logistic regression"
        tables[title] = bound_table(found["rows"], "mean gap", sharp="with the measured σ²")
    if found := parts.get("network"):
        tables["a small network"] = bound_table(found["rows"], "mean ‖∇f‖²")
    if found := parts.get("resnet"):
        tables["ResNet18 by batch size"] = resnet_table(found)
    return tables


def verdicts(parts: dict[str, Any]) -> list[str]:
    """What the runs say about the bounds, in words."""
    said = []
    if found := parts.get("regression"):
        known, drawn = found["known"], found["drawn"]
        said.append(
            f"Linear regression, noise of known variance: {holding(known['rows'])} Floors grow as "
            f"γ^p with p = {slope_text(known['slope_by_step'])} for γ ≤ 0.25/L, exactly "
            f"{known['exact_slope_by_step']:.3f}"
            + by_batch(known["slope_by_batch"])
            + "; p ± standard error."
        )
        said.append(
            f"Linear regression, components drawn from the data: {holding(drawn['rows'])} "
            f"p = {slope_text(drawn['slope_by_step'])} in γ for γ ≤ 1/(2 max‖a‖²)"
            + by_batch(drawn["slope_by_batch"])
            + "."
        )
    if found := parts.get("rare_feature"):
        gaps, step = np.array(found["gaps"]), found["step_size"]
        floor = step * found["variance_at_best"]  # γLσ²/μ with L = μ = 1
        said.append(
            f"A feature that {100 * found['share']:.0f} % of the examples have, γ = {step:g}/L: "
            f"the gap is {mean_and_error(gaps / floor)} of the floor γLσ²/μ that the variance at "
            f"the solution, {found['variance_at_best']:.3g}, would give, exactly "
            f"{found['exact'] / floor:.3g} of it. On the way the variance is "
            f"{found['variance_on_the_way']:.3g}: the one at the solution is no bound."
        )
    if found := parts.get("logistic"):
        said.append(
            f"Logistic regression: {holding(found['rows'])} With the step size tuned to K the mean "
            f"gap falls as K^p with p = {slope_text(found['tuned']['slope'])} from K = "
            f"{found['tuned']['steps'][0]} to {found['tuned']['steps'][-1]}, the bound with "
            f"{found['tuned']['bound_slope']:.3f}."
        )
    if found := parts.get("network"):
        said.append(f"A small network: {holding(found['rows'])} L is an estimate from below here.")
    if found := parts.get("resnet"):
        rows = list(found["rows"].values())
        losses = ", ".join(
            f"B = {row['batch_size']}: {mean_and_std(np.array(row['train_loss'])[:, -1])}"
            for row in rows
        )
        said.append(f"ResNet18, training loss after {rows[0]['steps'][-1]} steps: {losses}.")
    return said


def holding(rows: list[dict[str, Any]]) -> str:
    """In how many settings the bounds hold, and how near the means come to them."""
    bounded = [row for row in rows if row["bound"][-1] is not None]
    holds = sum(row["holds"] for row in bounded)
    if not bounded:
        return "no setting has a bound, for γL > 1."
    ratios = [row["last_ratio"] for row in bounded]
    left = len(rows) - len(bounded)
    return (
        f"the bound is above the mean at every recorded step in {holds} of {len(bounded)} settings"
        + (f" ({left} more have γL > 1 and no bound)" if left else "")
        + f"; at the end the mean is {min(ratios):.2g} to {max(ratios):.2g} of it."
    )


def mean_and_error(values: np.ndarray) -> str:
    """The mean over the seeds with its standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():.4g} ± {error:.1g}"


def by_batch(slope: dict[str, float] | None) -> str:
    return "" if slope is None else f", and as B^p with p = {slope_text(slope)}"


def picture(parts: dict[str, Any]) -> Figure:
    """What fits a README: regression and its floors, logistic regression, the network."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    if found := parts.get("regression"):
        draw_rows(named(found["known"]["rows"], *_SHOWN), axes[0, 0], "E f(x_k) − f*")
        axes[0, 0].set_title("linear regression", fontsize="medium")
        draw_known_floors(found, (axes[0, 1], axes[0, 2]), VARIANCE)
    if found := parts.get("logistic"):
        draw_rows(named(found["rows"], *_SHOWN_CONVEX), axes[1, 0], "mean of E f − f* up to k")
        axes[1, 0].set_title("logistic regression", fontsize="medium")
        draw_tuned(found["tuned"], axes[1, 1])
    if found := parts.get("network"):
        draw_rows(found["rows"], axes[1, 2], "mean of E‖∇f‖² up to k")
        axes[1, 2].set_title("a small network", fontsize="medium")
    for ax in axes.flat:
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
    report = Report("SGD beside the bounds on it")
    report.text(
        "Lines are means over the seeds, bands their standard errors, dashes the bounds of "
        "jaxnoise.theory. Means over iterates are formed from about 120 of them, dense at the "
        "start, as if what is averaged were linear between them."
    )
    for sentence in said:
        report.text(sentence)
    tables = tables_of(parts)
    if found := parts.get("regression"):
        report_regression(report, found, plan)
    if found := parts.get("logistic"):
        report_logistic(report, found)
    if found := parts.get("network"):
        report_network(report, found)
    if found := parts.get("resnet"):
        report_resnet(report, found)
    report.heading("Tables")
    for title, table in tables.items():
        report.text(title)
        report.table(*table)
    report.heading("Where and how")
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    report.provenance("sgd_rates", settings, where, seconds)
    return report


def report_regression(report: Report, found: dict[str, Any], plan: Plan) -> None:
    report.heading("Linear regression")
    report.text(
        f"{NUM_EXAMPLES} drawn rows of {DIMENSION} numbers, L = {found['smoothness']:.4g}, "
        f"μ = {found['strong_convexity']:.4g} (condition number {CONDITION:g}), max‖a_i‖² = "
        f"{found['largest_component']:.4g}, f(x_0) − f* = {found['initial_gap']:.4g}; {plan.seeds} "
        f"seeds, {plan.steps} steps. Left: full gradient plus normal noise with σ² = {VARIANCE:g}. "
        "Right: components drawn from the data; σ² is the largest variance along the run."
    )
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_rows(named(found["known"]["rows"], *_SHOWN), left, "E f(x_k) − f*", sharp=True)
    draw_rows(found["drawn"]["rows"], right, "E f(x_k) − f*", sharp=True)
    report.figure(figure, "Dashes: theorem as stated; dots: with half its floor, which it allows.")
    figure = Figure(figsize=(11, 4), layout="constrained")
    draw_known_floors(found, figure.subplots(1, 2), VARIANCE)
    report.figure(
        figure,
        "Mean gap of the second half of the steps. The exact floor of isotropic noise is "
        "(γσ²/2dB) Σ 1/(2 − γλ_i), about γσ²/(4B); that of the sharp bound is γLσ²/(2μB).",
    )


def report_logistic(report: Report, found: dict[str, Any]) -> None:
    report.heading("Logistic regression")
    report.text(
        f"{found['description']}: {found['num_examples']} examples, {found['num_features']} "
        f"features, L = {found['smoothness']:.4g}, σ² ≤ {found['variance']:.4g} from the data "
        f"alone, ‖x_0 − x*‖² = {found['initial_squared_distance']:.4g}; {found['seeds']} seeds, "
        f"{found['steps']} steps."
    )
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_rows(found["rows"], left, "mean of E f − f* up to k")
    draw_tuned(found["tuned"], right)
    report.figure(figure, "Constant, tuned and decaying steps; batches of one and more.")


def report_network(report: Report, found: dict[str, Any]) -> None:
    report.heading("A small network")
    report.text(
        f"{found['description']}: {found['num_examples']} examples, {found['num_params']} "
        f"parameters, {found['seeds']} seeds, {found['steps']} steps. The L of each setting, the "
        "largest |eigenvalue| of the Hessian at four iterates of the first seed: "
        + ", ".join(f"{row['name']}: {row['smoothness']:.3g}" for row in found["rows"])
        + "."
    )
    figure = Figure(figsize=(8, 5), layout="constrained")
    draw_rows(found["rows"], figure.subplots(), "mean of E‖∇f‖² up to k")
    report.figure(figure, "Settings with γL > 1 have no bound.")


def report_resnet(report: Report, found: dict[str, Any]) -> None:
    report.heading("ResNet18 by batch size")
    report.text(
        f"{found['description']}: {found['num_train']} training and {found['num_test']} test "
        f"examples, SGD at learning rate {found['learning_rate']:g}, "
        f"{found['seeds']} seeds. All batch sizes take as many steps, so the larger ones see more "
        "examples."
    )
    figure = Figure(figsize=(13, 4), layout="constrained")
    draw_resnet(found["rows"], figure.subplots(1, 3))
    report.figure(figure, "By steps larger batches are better, by examples they need not be.")
