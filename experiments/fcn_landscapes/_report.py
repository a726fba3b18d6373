"""Tables and report."""

from __future__ import annotations

import dataclasses
from typing import Any

from .._common import Report, mean_and_std
from ._config import Config, Plan
from ._figures import Captioned, curves
from ._scores import METRICS
from ._verdict import measures_of

Table = tuple[list[str], list[list[str]]]


def tables_of(cell: dict[str, Any]) -> dict[str, Table]:
    """Title → table, those of the paper."""
    data = cell["data"]
    tables = {f"{data}: test images, at the epoch of the lowest validation loss": _scores(cell)}
    if "networks" in cell:
        tables[f"{data}: networks at equal training loss"] = _flatness(cell["networks"])
        for name, study in cell["batch_sizes"].items():
            tables[f"{data}: {name}, batch sizes at equal training loss"] = _flatness(study)
    return tables


def _scores(cell: dict[str, Any]) -> Table:
    metrics = METRICS[cell["kind"]]
    columns = {"epoch": "epoch", "test loss": "test loss", **metrics}
    rows = []
    if cell["baseline"]:
        kept = [mean_and_std(cell["baseline"][m], 4) for m in metrics]
        rows.append(["the images as they are", "", "", "", *kept])
    by_network = dict(zip(cell["scores"], cell["trainings"].values(), strict=False))
    for name, found in cell["scores"].items():
        training = by_network[name]
        title = name
        if training["diverged_at"] is not None:
            title += f" (diverged at step {training['diverged_at']})"
        numbers = [mean_and_std(found[column], 4) for column in columns]
        rows.append([title, f"{training['num_params']:,}", *numbers])
    return ["network", "parameters", *columns.values()], rows


def _flatness(study: dict[str, Any]) -> Table:
    rows = study["rows"]
    columns = ["epoch", "train loss", "test loss", *measures_of(rows)]
    body = [[title, *(mean_and_std(row[c]) for c in columns)] for title, row in rows.items()]
    return ["network", *columns], body


def write_report(
    config: Config,
    plan: Plan,
    cells: dict[str, dict[str, Any]],
    figures: dict[str, dict[str, Captioned]],
    said: list[str],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Landscapes of segmentation networks")
    report.text(
        f"SGD, learning rate {plan.learning_rate:g}, momentum {plan.momentum:g}, batch size "
        f"{plan.batch_size}; patches are shown in one of their eight symmetries at random; mean "
        "squared error per pixel inside the mask, between the target and a sigmoid of the output: "
        "the choice is ours, and keeps the loss bounded where weights are pushed far off; without "
        "it C_ε at ε = 0.2 differs by up to eighteen orders of magnitude between seeds. Numbers "
        f"are mean ± standard deviation over the seeds 0…{plan.seeds - 1}."
    )
    report.text(
        "Networks are compared at equal training loss: for each seed the lowest loss that all of "
        "them reach, sought along the lines between snapshots. C_ε is (max L − L)/L in the box "
        "|z_i| ≤ ε|w_i|, Keskar's with the guards, (max L − L)/(1 + L) in |z_i| ≤ ε(|w_i| + 1), "
        "both by ten iterations of projected ascent from four starts. A rise is the mean of L over "
        "planes of random directions, less L at their center, over the latter; filter_unit and "
        f"filter say how filters of the directions are normalised; {plan.draws} planes for each "
        f"seed. Sharpness and landscapes are over {plan.probe} training patches."
    )
    report.heading("What the runs say")
    for sentence in said:
        report.text(sentence)
    for data, cell in cells.items():
        report.heading(data)
        counts = ", ".join(f"{n} {part}" for part, n in cell["patches"].items())
        report.text(f"{cell['description']}; patches: {counts}.")
        for title, table in tables_of(cell).items():
            report.text(title)
            report.table(*table)
        report.figure(
            curves(cell["trainings"]),
            "Losses over the patches as they are, after the first epochs; bands: one deviation.",
        )
        for figure, caption in figures[data].values():
            report.figure(figure, caption)
    report.heading("Where and how")
    report.table(
        ["training", "steps", "time of all seeds"],
        [
            [name, row["steps"], f"{row['seconds']:.0f} s"]
            for cell in cells.values()
            for name, row in cell["trainings"].items()
        ],
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    del settings["tasks"]
    for task in plan.tasks:
        settings[f"task {task.data}"] = dataclasses.asdict(task)
    report.provenance("fcn_landscapes", settings, where, seconds)
    return report
