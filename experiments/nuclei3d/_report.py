"""Tables and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, Table, mean_and_std, p_text
from ._compare import comparisons, difference, title_of
from ._config import Config, Plan
from ._evaluate import METRICS
from ._figures import domains, draw_curves, draw_scores, segmentations, shown_methods
from ._variants import GANS, VARIANTS


def score_table(rows: dict[str, Any], kind: str = "cleaned") -> Table:
    """Every method's scores, as in the paper's table, with or without its post-processing."""
    header = ["method", *METRICS.values()]
    return header, [
        [title_of(name), *(mean_and_std(row[kind][metric]) for metric in METRICS)]
        for name, row in rows.items()
    ]


def difference_table(rows: dict[str, Any]) -> Table:
    """Differences to the reference, seed by seed."""
    header = ["difference"]
    for metric in ("dice", "f1", "accuracy"):
        header += [METRICS[metric], "p"]
    body = []
    for name, pairs in comparisons(rows).items():
        line = ["nothing removed" if name == "raw" else title_of(name)]
        for metric in ("dice", "f1", "accuracy"):
            line += [difference(pairs[metric]), p_text(pairs[metric])]
        body.append(line)
    return header, body


def overlap_table(overlaps: dict[str, list[float]]) -> Table:
    header = ["synthetic microscopy", "Dice of what is bright with its label"]
    return header, [
        [GANS.get(source, source), mean_and_std(values)] for source, values in overlaps.items()
    ]


def count_table(counts: dict[str, list[list[int]]], truth: list[int]) -> Table:
    """Nuclei found in each volume, the mean over the seeds."""
    header = [
        "nuclei",
        *(f"volume {index}" for index in range(len(next(iter(counts.values()))[0]))),
    ]
    body = [["ground truth", *map(str, truth)]] if truth else []
    for name, of_seeds in counts.items():
        body.append([title_of(name), *(f"{x:.1f}" for x in np.mean(of_seeds, axis=0))])
    return header, body


def tables_of(results: dict[str, Any], min_size: int) -> dict[str, Table]:
    """All tables by title; scores only where there is ground truth."""
    rows = results["rows"]
    tables = {"Overlap of synthetic microscopy with its label": overlap_table(results["overlaps"])}
    if rows:
        tables[f"Scores, components under {min_size} voxels removed"] = score_table(rows)
        tables["Scores, nothing removed"] = score_table(rows, "raw")
    if comparisons(rows):
        tables["Differences, seed by seed"] = difference_table(rows)
    tables["Nuclei found"] = count_table(results["counts"], results["true_counts"])
    return tables


def write_report(
    config: Config,
    plan: Plan,
    results: dict[str, Any],
    said: list[str],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Nuclei in three dimensions, segmented without a segmentation by hand")
    report.text(
        "Fu et al. 2018: ellipsoids are drawn, a GAN gives them the look of the microscope's "
        "volumes, and a 3-D network learns from such pairs to segment the microscope's volumes. "
        f"The microscope: {results['description']}. Numbers are mean ± standard deviation over the "
        f"seeds 0…{plan.seeds - 1} of means over test volumes; a seed is one of GAN and network "
        "together, so all that is trained varies, while drawn nuclei and test volumes are the "
        "same. Differences are taken seed by seed, p is that of the paired t-test, not "
        "corrected for the number of comparisons. Methods without training have no seeds."
    )
    report.text(
        "Accuracy, Type-I and Type-II errors are shares of all voxels: the more background, the "
        "higher the accuracy of finding nothing. Dice and the F1 of objects, matched where they "
        "overlap by half, have no such bias. The paper also compares with Squassh, a plug-in of "
        "ImageJ, which no maintained library has."
    )
    report.heading("What the runs say")
    for sentence in said:
        report.text(sentence)
    for title, table in tables_of(results, plan.min_size).items():
        report.heading(title)
        report.table(*table)
    report.heading("Volumes")
    report.figure(
        domains(config.out, plan),
        "Slices of drawn nuclei and of synthetic microscopy, with the outlines of the drawn "
        "nuclei; below, the microscope's own.",
    )
    methods = shown_methods(list(results["counts"]))
    for number in range(min(3, len(next(iter(results["counts"].values()))[0]))):
        report.figure(
            segmentations(config.out, methods, number),
            f"Test volume {number}, seed 0: nuclei and their outlines on the image, seen from "
            "three sides, and slices.",
        )
    report.heading("Scores and curves")
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for metric, ax in (("dice", left), ("f1", middle)) if results["rows"] else ():
        draw_scores(results["rows"], metric, ax)
        ax.set_title(METRICS[metric])
    middle.set_yticklabels([])
    draw_curves(results["training"], right)
    report.figure(figure, "Scores, a dot for each seed; training.")
    report.heading("Where and how")
    report.table(
        ["network", "parameters", "steps", "training time"],
        [
            [
                VARIANTS[name].title,
                runs[0]["num_params"],
                runs[0]["steps"],
                ", ".join(f"{run['seconds']:.0f} s" for run in runs),
            ]
            for name, runs in results["training"].items()
        ],
    )
    settings = dataclasses.asdict(config)
    for name, part in dataclasses.asdict(plan).items():
        settings |= {name: part} if not isinstance(part, dict) else part
    report.provenance("nuclei3d", settings, where, seconds)
    return report
