"""Tables, verdict and report."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, mean_and_std
from ._config import Config, Plan
from ._figures import draw_batches, draw_growth, draw_thresholds, draw_toy
from ._measure import THRESHOLDS, claim

TAUS = [f"{tau:.0e}".replace("e-0", "e-") for tau in THRESHOLDS]
Table = tuple[list[str], list[list[str]]]


def logistic_table(results: dict[str, Any]) -> Table:
    header = [
        "data", "at", "F − F_*", "‖∇F‖", *(f"p_τ %, τ={tau}" for tau in TAUS), "M_τ, τ=1e-4",
        "train accuracy", "> 99 %",
    ]  # fmt: skip
    rows = [
        [
            name,
            point,
            mean_and_std(row["gap"]),
            mean_and_std(row["gradient_norm"]),
            *percents(row["fraction"]),
            tail_mean(row),
            mean_and_std(row["train_accuracy"], 4),
            claim_text(row["fraction"]),
        ]
        for name, result in results.items()
        for point, row in result["points"].items()
    ]
    return header, rows


def network_table(results: dict[str, Any]) -> Table:
    header = [
        "network, data", *(f"p_τ %, τ={tau}" for tau in TAUS), "M_τ, τ=1e-4", "train accuracy",
        "test accuracy", "N", "> 99 %",
    ]  # fmt: skip
    rows = [
        [
            name,
            *percents(row["fraction"]),
            tail_mean(row),
            mean_and_std(row["train_accuracy"], 4),
            mean_and_std(row["test_accuracy"], 4),
            mean_and_std(row["N"]),
            claim_text(row["fraction"]),
        ]
        for name, row in results.items()
    ]
    return header, rows


def tail_table(rows: dict[str, Any]) -> Table:
    """M_τ at every threshold."""
    header = ["", *(f"M_τ, τ={tau}" for tau in TAUS), "mean ‖g‖²", "max ‖g‖²"]
    body = []
    for name, row in rows.items():
        tails = [mean_and_std(tail) for tail in np.transpose(row["tail_mean"])]
        body.append([name, *tails, mean_and_std(row["mean"]), mean_and_std(row["max"])])
    return header, body


def batch_table(row: dict[str, Any]) -> Table:
    """p_τ in per cent over M_τ for each batch size."""
    header = ["batch size", *(f"p_τ %; M_τ, τ={tau}" for tau in TAUS)]
    fraction = np.array([batches["fraction"] for batches in row["batches"]])  # (seeds, sizes, τ)
    tail = np.array([batches["tail_mean"] for batches in row["batches"]])
    body = [
        [
            str(size),
            *(
                f"{mean_and_std(100 * fraction[:, i, k])}; {mean_and_std(tail[:, i, k], 2)}"
                for k in range(len(TAUS))
            ),
        ]
        for i, size in enumerate(row["batch_sizes"])
    ]
    return header, body


def percents(fraction: Any) -> list[str]:
    return [mean_and_std(100 * column, 4) for column in np.transpose(fraction)]


def tail_mean(row: dict[str, Any]) -> str:
    return mean_and_std(np.transpose(row["tail_mean"])[THRESHOLDS.index(1e-4)])


def claim_text(fraction: Any) -> str:
    holds = claim(fraction)
    return f"τ ≥ {TAUS[THRESHOLDS.index(min(holds))]}" if holds else "none"


def solutions(parts: dict[str, Any]) -> dict[str, Any]:
    """Name → numbers of everything that was measured at a solution."""
    logistic = {
        f"logistic, {name}, {point}": row
        for name, result in parts.get("logistic", {}).items()
        for point, row in result["points"].items()
    }
    return {**logistic, **parts.get("networks", {})}


def verdicts(parts: dict[str, Any]) -> dict[str, Any]:
    """Where more than 99 % of the components vanish in every seed: by solution, and in words."""
    holds = {name: claim(row["fraction"]) for name, row in solutions(parts).items()}
    sentences = []
    for tau, text in zip(THRESHOLDS, TAUS, strict=True):
        yes = [name for name, taus in holds.items() if tau in taus]
        no = [name for name, taus in holds.items() if tau not in taus]
        if holds:
            sentence = f"τ = {text}: more than 99 % vanish at {len(yes)} of {len(holds)} solutions"
            sentences.append(sentence + (f"; not at {'; '.join(no)}." if yes and no else "."))
    return {"holds_for": holds, "sentences": sentences}


def picture(parts: dict[str, Any]) -> Figure:
    """What fits a README: the toy, p_τ against τ, p_τ against the batch size."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    axes = figure.subplots(2, 2)
    for ax, case in zip(axes[0], parts.get("toy", {}).items(), strict=False):
        draw_toy(case[0], case[1], ax)
    if rows := solutions(parts):
        draw_thresholds(rows, axes[1, 0])
    if networks := parts.get("networks"):
        draw_batches(networks, axes[1, 1], "fraction")
    for ax in axes.flat:
        ax.set_visible(ax.has_data())
    return figure


def write_report(
    config: Config, plan: Plan, parts: dict[str, Any], where: dict[str, Any], seconds: float
) -> Report:
    report = Report("When does SGD work well? Vanishing component gradients")
    report.text(
        "p_τ is the share of components whose squared gradient norm is at most τ, M_τ the mean "
        "squared norm of the others; E‖g‖² ≤ p_τ τ + (1 − p_τ) M_τ. Numbers are mean ± standard "
        f"deviation over the seeds 0…{plan.seeds - 1}, unless said otherwise. The last column of "
        "the tables names the thresholds at which p_τ exceeds 99 % in every seed."
    )
    if rows := solutions(parts):
        report.heading("The claim: more than 99 % of the components vanish")
        for sentence in verdicts(parts)["sentences"]:
            report.text(sentence)
        figure = Figure(figsize=(10, 5), layout="constrained")
        draw_thresholds(rows, figure.subplots())
        report.figure(figure, "p_τ against τ, mean over the seeds; dashed: 99 %.")
    if "toy" in parts:
        report_toy(report, parts["toy"])
    if parts.get("logistic"):
        report_logistic(report, parts["logistic"], plan)
    if parts.get("networks"):
        report_networks(report, parts["networks"], plan)
    report.heading("Where and how")
    report.code("python -m experiments.vanishing_gradients " + " ".join(sys.argv[1:]))
    report.text(
        f"This run took {seconds:.0f} s, without what it read back, on {where['device']}, "
        f"{where['processor']}."
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    del settings["networks"]  # the table of the networks has them
    report.table(["setting", "value"], [row for row in settings.items() if row[1] is not None])
    report.table(["package", "version"], list(where["versions"].items()))
    return report


def report_toy(report: Report, cases: dict[str, Any]) -> None:
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for ax, case in zip(figure.subplots(1, 2), cases.items(), strict=True):
        draw_toy(case[0], case[1], ax)
    report.heading("SGD in the plane")
    report.figure(
        figure,
        "Three runs of SGD, one component a step, on the mean of 100 quadratics whose minimisers "
        "(grey) lie close together or are spread. Contours: F. Cross: the optimum.",
    )
    rows = [
        [name, f"{c['mean_squared_norm']:.3g}", f"{c['late_distance']:.3g}"]
        for name, c in cases.items()
    ]
    report.table(["case", "mean ‖∇f_i(w_*)‖²", "mean ‖w − w_*‖, last third"], rows)


def report_logistic(report: Report, results: dict[str, Any], plan: Plan) -> None:
    report.heading("Logistic regression")
    report.text(
        "f_i(w) = log(1 + exp(−y_i x_iᵀw)) + (λ/2)‖w‖² with λ = 1/n and no bias. w_* is solved for "
        "in float64 to ‖∇F(w_*)‖ ≤ 1e-8 and has no seeds. w_SGD is the last iterate of SGD after "
        f"{plan.sgd_epochs} epochs at batch size 1 from zero, step size η = {plan.sgd_step}/L with "
        "L = maxᵢ‖x_i‖²/4 + λ. The penalty is part of each component: even where the data term is "
        "zero, ‖∇f_i‖² is λ²‖w‖²."
    )
    report.table(*logistic_table(results))
    report.table(*tail_table(solutions({"logistic": results})))
    keys = ("num_examples", "num_features", "step_size", "best_value", "penalty_squared_norm")
    report.table(
        ["data", "classes", "n", "d", "η", "F_*", "λ²‖w_*‖²"],
        [
            [f"{r['description']} ({name})", r["task"], *(f"{r[key]:.6g}" for key in keys)]
            for name, r in results.items()
        ],
    )


def report_networks(report: Report, results: dict[str, Any], plan: Plan) -> None:
    report.heading("Networks")
    report.text(
        "Adam from He's initial values; w_* is the last iterate, at which the full gradient need "
        "not vanish. N is the maximum of r_t over the iterates w_0, w_1, … kept after each epoch. "
        "It is measured over a random subset of the training examples, whose mean loss then stands "
        "for F: the denominator ‖∇F(w_k)‖² is larger by about tr Σ over their number than that of "
        "all examples, so the N of a small subset is rather too small. Accuracies and p_τ are over "
        "all examples trained on."
    )
    report.table(*network_table(results))
    report.table(*tail_table(results))
    tasks = {f"{task.network}, {task.data}": task for task in plan.networks}
    report.table(
        ["network, data", "set", "trained on", "tested on", "N over", "epochs", "batch",
         "learning rate", "parameters", "training time"],
        [
            [name, r["description"], r["num_train"], r["num_test"], r["num_subset"],
             tasks[name].epochs, tasks[name].batch_size, tasks[name].learning_rate,
             r["num_params"], f"{r['seconds']:.0f} s"]
            for name, r in results.items()
        ],
    )  # fmt: skip
    figure = Figure(figsize=(10, 4), layout="constrained")
    draw_growth(results, figure.subplots())
    report.figure(figure, "r_t along training, one line for each seed; its maximum estimates N.")

    report.heading("Means of mini-batches")
    report.text(
        "The same at the same solutions for the mean gradient of b examples: the examples trained "
        "on are cut at random into ⌊n/b⌋ batches."
    )
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_batches(results, left, "fraction")
    draw_batches(results, right, "tail_mean")
    report.figure(figure, "p_τ and M_τ against the batch size, τ = 1e-4; bands: one deviation.")
    for name, row in results.items():
        report.text(f"{name}: {row['num_train']} examples, seeds 0…{plan.seeds - 1}.")
        report.table(*batch_table(row))
