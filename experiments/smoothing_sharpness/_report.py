"""Tables and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .._common import Report, Table, mean_and_std
from ._compare import CLAIMS, HUMPS, NAMES, Comparison, judged
from ._correlate import RESAMPLES
from ._critical import Columns
from ._figures import noise_picture, other_picture, picture
from ._findings import Findings
from ._noise import DIRECTIONS, DRAWS, over

SIGNS = {1: "+", -1: "−", 0: "0", None: "no claim"}


def sweep_table(columns: Columns, quantity: str) -> Table:
    """Mean ± deviation over the seeds, a row for each batch size, a column for each η."""
    rates = np.unique(columns["learning_rate"])
    body = []
    for size in np.unique(columns["batch_size"]):
        line = [f"{size:.0f}"]
        for rate in rates:
            mine = (columns["batch_size"] == size) & (columns["learning_rate"] == rate)
            kept = columns[quantity][mine & ~columns["diverged"]]
            gone = int((mine & columns["diverged"]).sum())
            text = mean_and_std(kept) if kept.size else "–"
            line.append(text + (f" ({gone} diverged)" if gone else ""))
        body.append(line)
    return ["b", *(f"η = {rate:g}" for rate in rates)], body


def correlation_table(group: Comparison) -> Table:
    """Every claim with both rank correlations and their intervals."""
    header = [
        "", "expected", "Kendall's τ", "Spearman's ρ", "at equal η or b, τ",
        "given the training loss, τ", "runs", "verdict",
    ]  # fmt: skip
    body = []
    for claim, found in zip(CLAIMS, group.correlations, strict=True):
        estimates = (found.kendall, found.spearman, found.within, found.partial)
        body.append(
            [
                f"{NAMES[claim.quantity]} against {NAMES[claim.against]}",
                SIGNS[claim.sign],
                *map(str, estimates),
                str(found.num),
                judged(claim.sign, found.kendall),
            ]
        )
    return header, body


def hump_table(group: Comparison) -> Table:
    """Test accuracy over each δ and each sharpness."""
    header = [
        "test accuracy over", "hump expected", "curvature (p)", "vertex", "bins: accuracy",
        "best over first, last: p", "hump found",
    ]  # fmt: skip
    body = []
    for against, found in group.humps.items():
        line = [NAMES[against], "yes" if HUMPS[against] else "no"]
        if found:
            line += [
                f"{found['curvature']:+.3g} ({found['curvature_p']:.2g})",
                "–" if not np.isfinite(found["vertex"]) else f"{found['vertex']:.2g}",
                ", ".join(f"{x:.2g}: {y:.3f}" for x, y, _ in found["bins"]),
                f"{found['first_p']:.2g}, {found['last_p']:.2g}",
                "yes" if found["is_hump"] else "no",
            ]
        else:
            line += ["too few runs", "–", "–", "–", "–"]
        body.append(line)
    return header, body


def critical_table(critical: list[dict[str, Any]], starts: list[dict[str, Any]]) -> Table:
    """b* and the C concluded from it, beside C as measured."""
    header = [
        "η", "b*", "at the edge of the sweep", "C, paper's form", "C, consistent form",
        "L η", "C measured at the start",
    ]  # fmt: skip
    measured = mean_and_std([row["noise_std"] for row in starts])
    return header, [
        [
            f"{row['learning_rate']:g}",
            "–" if row["batch_size"] is None else str(row["batch_size"]),
            "–" if row["batch_size"] is None else "yes" if row["at_edge"] else "no",
            root(row["paper"]),
            root(row["consistent"]),
            f"{row['smoothness'] * row['learning_rate']:.3g}",
            measured,
        ]
        for row in critical
    ]


def root(square: float) -> str:
    return "–" if np.isnan(square) else f"{np.sqrt(square):.3g}"


def noise_table(noise: dict[str, Any]) -> Table:
    """How far from normal ω is, at each point and batch size."""
    header = [
        "at", "b", "along directions: skewness", "excess kurtosis", "A²", "normal rejected at 5 %",
        "coordinates of one ω: excess kurtosis", "exactly zero",
    ]  # fmt: skip
    body = []
    for where, found in noise.items():
        for size in found["sizes"]:
            along, pooled = size["normality"], size["coordinate_normality"]
            rejected = np.mean(np.array(along["p_value"]) < 0.05)
            body.append(
                [
                    where,
                    str(size["batch_size"]),
                    mean_and_std(np.abs(along["skewness"]), 2),
                    mean_and_std(along["excess_kurtosis"], 2),
                    mean_and_std(along["anderson_darling"], 2),
                    f"{100 * rejected:.0f} % of {len(along['p_value'])}",
                    f"{pooled['excess_kurtosis'][0]:.3g}",
                    f"{100 * size['zero']:.0f} %",
                ]
            )
    return header, body


def equivalence_table(noise: dict[str, Any], rate: float) -> Table:
    """√E‖ηω‖² at the same point, where η is halved and where b is quadrupled."""
    header = [
        "at", "η", "b", "ηC/√b", "rms ‖ηω‖ ± error", "over the first",
        "drawn without replacement", "over the first",
    ]  # fmt: skip
    body = []
    for where, found in noise.items():
        first = found["sizes"][0]
        cases = [(rate / 2**k, first) for k in range(len(found["sizes"]))]
        cases += [(rate, size) for size in found["sizes"][1:]]
        for eta, size in cases:
            scale = eta / rate
            body.append(
                [
                    where,
                    f"{eta:g}",
                    str(size["batch_size"]),
                    f"{eta * found['noise_std'] / np.sqrt(size['batch_size']):.4g}",
                    *(
                        text
                        for key in ("rms", "rms_without")
                        for text in (
                            f"{eta * size[key][0]:.4g} ± {eta * size[key][1]:.2g}",
                            f"{scale:g}" if size is first else ratio_text(size[key], first[key]),
                        )
                    ),
                ]
            )
    return header, body


def ratio_text(rms: tuple[float, float], first: tuple[float, float]) -> str:
    ratio, error = over(rms, first)
    return f"{ratio:.4f} ± {error:.2g}"


def tables_of(findings: Findings) -> dict[str, Table]:
    """Those that are printed, by title."""
    columns, plan = findings.columns, findings.plan
    tables = {NAMES[name]: sweep_table(columns, name) for name in ("test_accuracy", "sharpness")}
    for group in findings.comparisons:
        tables[f"runs {group.title}: correlations"] = correlation_table(group)
        tables[f"runs {group.title}: humps"] = hump_table(group)
    return {
        **tables,
        "C from the critical batch size": critical_table(findings.critical, findings.starts),
        "how normal the noise is": noise_table(findings.noise),
        "halving η, quadrupling b": equivalence_table(findings.noise, plan.probe_learning_rate),
    }


def write_report(findings: Findings, where: dict[str, Any], seconds: float) -> Report:
    config, plan, facts = findings.config, findings.plan, findings.facts
    columns = findings.columns
    report = Report("Smoothing and sharpness: what the noise of SGD does to its solutions")
    report.text(
        f"Plain SGD at constant η and b, {plan.epochs} epochs for every run, so that large batches "
        f"take few steps. Seeds 0…{plan.seeds - 1}; runs of equal seed start from the same "
        "parameters. The worst-case sharpness (scaling “none”, c = 1) is the paper's: "
        f"ρ = {plan.rho:g}, ℓ∞, 20 steps, a mean over batches of 128 training examples, at most "
        f"{plan.sharpness_batches} of them; the adaptive one (scaling “magnitude”, c = |w|) takes "
        f"ρ relative to each weight. C is measured over {facts['num_probe']} training examples. "
        f"Intervals are of {RESAMPLES} bootstrap resamples of the runs, 95 %; they take the seeds "
        "of one η and b for independent. Neither they nor the p values are corrected for their "
        "number."
    )
    report.heading("What the runs say")
    for sentence in findings.said:
        report.text(sentence)
    caption = (
        "A mark for each run: colours for batch sizes, shapes for learning rates, hollow where the "
        f"training accuracy is below {config.reached:g}. Runs that diverged are left out."
    )
    report.figure(picture(columns), caption)
    report.figure(other_picture(columns), caption)
    for group in findings.comparisons:
        report.heading(f"Runs {group.title}: {group.num}")
        report.table(*correlation_table(group))
        report.table(*hump_table(group))
    report.heading("By batch size and learning rate")
    for quantity in (
        "test_accuracy", "train_accuracy", "train_loss", "sharpness", "adaptive_sharpness",
        "noise_std",
    ):  # fmt: skip
        name = NAMES[quantity]
        report.text(name[0].upper() + name[1:] + ", mean ± standard deviation over the seeds:")
        report.table(*sweep_table(columns, quantity))
    report.heading("C, measured and concluded")
    report.text(
        "b* is the batch size that brings the running mean of ‖∇L‖ (over the start and the ends of "
        f"the epochs, straight lines between) below ε = {config.epsilon:g} with the fewest "
        "gradients of single examples. The paper's form is C² = b*ε²/η, the consistent one "
        "C² = b*ε²(2 − Lη)/(2Lη), with L the largest eigenvalue of the Hessian at the start; it "
        "has no value where Lη ≥ 2. – where no batch size gets there in every seed."
    )
    report.table(*critical_table(findings.critical, findings.starts))
    report_noise(report, findings)
    report.heading("Where and how")
    report.text(
        f"{facts['description']} {facts['num_train']} training and {facts['num_test']} test "
        "examples."
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    report.provenance("smoothing_sharpness", settings, where, seconds)
    return report


def report_noise(report: Report, findings: Findings) -> None:
    plan = findings.plan
    report.heading("How normal the noise is")
    report.text(
        f"Along the run with η = {plan.probe_learning_rate:g}, b = {plan.probe_batch_size}, seed "
        f"0: ω of {DRAWS} batches along {DIRECTIONS} random directions, and all coordinates of a "
        "single ω, which mix layers and weights of very different scale. Batches are drawn with "
        "replacement. |Skewness|, excess kurtosis and Anderson–Darling's A² are means over the "
        "directions; a large normal sample has 0, 0 and about 0.4."
    )
    report.table(*noise_table(findings.noise))
    report.figure(
        noise_picture(findings.noise), "Histograms with the normal, and quantiles against it."
    )
    report.heading("Halving η, and quadrupling b")
    report.text(
        f"√E‖ηω‖² at the same parameters, over {plan.noise_gradients} gradients of single "
        "examples for each batch size. Halving η halves it by arithmetic; "
        "quadrupling b does where batches are drawn with replacement. Training draws without, and "
        "the noise of a batch that is a good part of the examples is then smaller still."
    )
    report.table(*equivalence_table(findings.noise, plan.probe_learning_rate))
