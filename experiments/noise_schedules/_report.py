"""Tables, pictures and report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .._common import Report, Table, final, mean_and_std, p_text, points
from ._compare import compared, smoothing, sum_of_rates
from ._config import Config, Plan
from ._methods import METHODS, STARTS
from ._pictures import (
    edges_of,
    methods_picture,
    rates_picture,
    schedules_picture,
    stages_figure,
)
from ._schedules import AUTHORS, COSINE_POWER, polynomial
from ._verdict import times


def methods_table(rows: dict[str, Any]) -> Table:
    """Every method at the end of training, and its paired comparison with method 2."""
    header = [
        "method", "batch sizes", "learning rates", "Σ η", "train loss", "test accuracy",
        "over 2, points", "p", "loss over 2's", "p",
    ]  # fmt: skip
    body = []
    for method, row in rows.items():
        pair = compared(row, rows["decay_lr"]) if method != "decay_lr" else {}
        accuracy, loss = pair.get("test_accuracy"), pair.get("train_loss")
        body.append(
            [
                METHODS[method],
                " ".join(map(str, row["batch_sizes"])),
                " ".join(f"{rate:.3g}" for rate in np.mean(row["learning_rates"], axis=1)),
                *ends(row),
                points(accuracy),
                p_text(accuracy),
                times(loss),
                p_text(loss),
            ]
        )
    return header, body


def stages_table(rows: dict[str, Any], decay: float) -> Table:
    """C and δ at the beginning of each stage, and what δ was meant to be."""
    stages = max(len(row["batch_sizes"]) for row in rows.values())
    header = ["at the beginning of stage", *map(str, range(1, stages + 1)), "the end"]
    body = []
    for method, row in rows.items():
        degrees = smoothing(row, method, decay)
        noise = [mean_and_std(c) for c in row["noise_stds"]]
        begin = [mean_and_std(delta) for delta in degrees["begin"]]
        meant = [mean_and_std(delta) for delta in degrees["intended"]]
        for what, cells in (("C", noise), ("δ", begin), ("δ meant", meant)):
            padded = [*cells, *["–"] * (stages + 1 - len(cells))]
            body.append([f"{METHODS[method]}: {what}", *padded])
    return header, body


def schedules_table(rows: dict[str, Any]) -> Table:
    """Every schedule at the end of training, beside what its authors found elsewhere."""
    header = [
        "schedule", "Σ η", "train loss", "test accuracy", "over p = 1, points", "p",
        "the authors' loss", "the authors' accuracy",
    ]  # fmt: skip
    body = []
    for title, row in rows.items():
        pair = compared(row, rows[polynomial(1)])["test_accuracy"]
        own = title == polynomial(1)
        body.append(
            [
                title,
                *ends(row),
                "–" if own else points(pair),
                "–" if own else p_text(pair),
                *(f"{x:g}" for x in AUTHORS.get(title, ())),
            ]
        )
    return header, [[*line, *["–"] * (len(header) - len(line))] for line in body]


def ends(row: dict[str, Any]) -> list[str]:
    """Σ η, training loss and test accuracy at the end, as text."""
    if row.get("diverged_at") is not None:
        return ["–", "–", f"diverged at step {row['diverged_at']}"]
    loss, accuracy = final(row, "train_loss"), final(row, "test_accuracy")
    return [f"{sum_of_rates(row):.3g}", mean_and_std(loss), mean_and_std(accuracy, 4)]


def tables_of(cell: Any, decay: float) -> dict[str, Table]:
    tables = {}
    for start, rows in cell.methods.items():
        title = f"{cell.task.name}, {STARTS[start]}"
        tables[title] = methods_table(rows)
        tables[f"{title}: noise of the stages"] = stages_table(rows, decay)
    if cell.schedules:
        tables[f"{cell.task.name}, schedules by epoch"] = schedules_table(cell.schedules)
    return tables


def write_report(
    config: Config,
    plan: Plan,
    cells: list[Any],
    said: list[str],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Which schedule of the gradient noise trains best?")
    report.text(
        "Numbers are mean ± standard deviation over the seeds "
        f"0…{plan.seeds - 1} at the end of training, the training loss a mean over the batches of "
        "the last epoch. Plain SGD, without momentum or weight decay. All start from the same "
        "parameters; differences are taken seed by seed, losses are compared by their logarithms, "
        "and p is that of the paired t-test."
    )
    report.heading("What the runs say")
    for sentence in said:
        report.text(sentence)
    for cell in cells:
        report.heading(f"{cell.task.name}: Σ η")
        report.text(
            "Σ η, the sum of the learning rates over all steps, is how far SGD could go along a "
            "constant gradient. Methods whose noise decays alike differ in it: at equal epochs a "
            "larger batch has fewer steps."
        )
        report.figure(
            rates_picture(cell),
            "Training loss and test accuracy at the end against Σ η, mean and deviation; numbers "
            "are methods, p the polynomials' powers.",
        )
        report_methods(report, cell, plan)
        report_schedules(report, cell, plan)
    report.heading("Where and how")
    report.table(
        ["network, data", "set", "trained on", "tested on", "C over"],
        [[cell.task.name, *cell.problem.values()] for cell in cells],
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    del settings["tasks"]
    for task in plan.tasks:
        settings[task.name] = dataclasses.asdict(task)
    report.provenance("noise_schedules", settings, where, seconds)
    return report


def report_methods(report: Report, cell: Any, plan: Plan) -> None:
    if not cell.methods:
        return
    report.heading(f"{cell.task.name}: stages")
    report.figure(
        methods_picture(cell, plan),
        "δ from the beginning to the end of each stage, dashed what it was meant to be; training "
        "loss and test accuracy by epoch, the bands one deviation.",
    )
    report.text(
        f"From stage to stage η/√b falls by {plan.decay:.3g}, but with method 1; with method 5 δ "
        f"itself does, as far as a learning rate of at most {plan.max_learning_rate:g} and a batch "
        f"of at least {plan.min_batch_size} let it. δ is measured over training examples without "
        "augmentation, in inference mode."
    )
    for start, rows in cell.methods.items():
        report.heading(f"{cell.task.name}: {STARTS[start]}")
        report.table(*methods_table(rows))
        report.table(*stages_table(rows, plan.decay))
        report.figure(
            stages_figure(rows, edges_of(cell.task.epochs, plan)),
            "Learning rate, batch size and C by epoch; training loss and test accuracy by gradient "
            "query, that is by gradients of single examples, of which every epoch has about as "
            "many; training loss by step.",
        )


def report_schedules(report: Report, cell: Any, plan: Plan) -> None:
    if not cell.schedules:
        return
    report.heading(f"{cell.task.name}: schedules by epoch")
    report.table(*schedules_table(cell.schedules))
    report.text(
        f"Batch size {plan.batch_size}. Learning rates change by epoch. The step halves them after "
        "each fifth of the epochs, the exponential falls as far as 0.94 per epoch does in 200, and "
        f"the cosine's power is p = {COSINE_POWER}. The authors' numbers are those of ResNet18 on "
        "CIFAR-100 after 200 epochs, accuracies in percent, as read off their curves."
    )
    report.figure(
        schedules_picture(cell, plan.learning_rate),
        "Learning rates and their decay rates by epoch (the last, to zero, lie below the picture); "
        "training loss and test accuracy, the bands one deviation.",
    )
