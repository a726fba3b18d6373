"""Tables and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, mean_and_std
from ._compare import METRIC_NAMES, comparisons, difference
from ._config import Config, Plan
from ._figures import curves
from ._methods import METHODS
from ._score import METRICS

Table = tuple[list[str], list[list[str]]]


def score_table(cell: dict[str, Any], scorer: str) -> Table:
    """FCN-scores of the real test images and of every optimizer's, as in tables 2 and 3."""
    header = [scorer, *(METRIC_NAMES[metric] for metric in METRICS), "L1 to the real image"]
    truth = cell["ground_truth"][scorer]
    rows = [["ground truth", *(f"{truth[metric]:.3f}" for metric in METRICS), "0"]]
    for method, row in cell["rows"].items():
        name = METHODS[method]
        if row["diverged_at"] is not None:
            name += f" (diverged at step {row['diverged_at']})"
        found = row["scores"][scorer]
        rows.append([name, *(mean_and_std(found[m]) for m in METRICS), mean_and_std(row["l1"])])
    return header, rows


def difference_table(cell: dict[str, Any], scorer: str) -> Table:
    header = ["difference, seed by seed"]
    for name in (*METRIC_NAMES.values(), "L1"):
        header += [name, "p"]
    rows = []
    for title, pairs in comparisons(cell["rows"]).items():
        ours, theirs = title.split(" over ")
        line = [f"{METHODS[ours]} − {METHODS[theirs]}"]
        for pair in (*(pairs[scorer][metric] for metric in METRICS), pairs["l1"]):
            line += [difference(pair), p_text(pair["p_value"])]
        rows.append(line)
    return header, rows


def p_text(p: float) -> str:
    return "–" if np.isnan(p) else f"{p:.2g}"


def write_report(
    config: Config,
    plan: Plan,
    cells: dict[str, dict[str, Any]],
    said: list[str],
    picture: Figure,
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Image translation: pix2pix with Adam and with TRAdam")
    report.text(
        "Generator and discriminator take the same optimizer, batch size 1, learning rate "
        f"{plan.learning_rate:g}, β₁ = 0.5, L1 weight {plan.l1_weight:g}; TRAdam has "
        f"λ = {plan.weight:g}, S = {plan.period}. In the authors' form the weight of the pull is "
        "2λ at a constant learning rate, and every epoch renews the anchor. Adam at the mean step "
        "has TRAdam's mean learning rate, H_S/S times as large. All start from the same parameters "
        "and see the examples in the same order. Test images are made in training mode: "
        "normalised by the statistics of the single image and, where the generator has six levels "
        "or more, with dropout, the same for all."
    )
    report.text(
        "FCN-scores: a segmentation network trained on the real pairs of the training part reads "
        "the label map off each test image; per-pixel accuracy, per-class accuracy and class IOU "
        "over all test pixels inside the mask. Ground truth: the same of the real test images. "
        f"Numbers are mean ± standard deviation over the seeds 0…{plan.seeds - 1}; differences are "
        "taken seed by seed, p is that of the paired t-test, not corrected for the number of "
        "comparisons. All seeds are judged by the same scorer and test images, so the spread is "
        "that of training alone."
    )
    report.heading("What the runs say")
    for sentence in said:
        report.text(sentence)
    report.heading("Test images")
    report.figure(picture, "Test images of seed 0; colours of the label maps are those of classes.")
    for data, cell in cells.items():
        report.heading(data)
        for scorer in cell["ground_truth"]:
            report.table(*score_table(cell, scorer))
            report.table(*difference_table(cell, scorer))
        report.figure(
            curves(cell["rows"]),
            "Losses along training, averaged over each epoch; bands: one deviation over the seeds. "
            "The players' losses are in nats; L1 is the mean distance to the real training image, "
            "which ranges from −1 to 1.",
        )
    report.heading("Where and how")
    report.table(
        ["data", "set", "training pairs", "test pairs", "parameters", "training time"],
        [
            [
                data,
                cell["description"],
                cell["num_train"],
                cell["num_test"],
                ", ".join(f"{k} {n}" for k, n in cell["rows"]["adam"]["num_params"].items()),
                ", ".join(f"{METHODS[m]} {r['seconds']:.0f} s" for m, r in cell["rows"].items()),
            ]
            for data, cell in cells.items()
        ],
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    del settings["tasks"]
    for task in plan.tasks:
        settings[f"task {task.data}"] = dataclasses.asdict(task)
    report.provenance("image_translation", settings, where, seconds)
    return report
