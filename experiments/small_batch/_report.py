"""Tables and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._common import Report, Table, final, mean_and_std, p_text, points
from ._compare import comparisons, groups_by_batch_size, noise_ratios
from ._config import Config, Plan
from ._figures import draw_batches, draw_curves, draw_gains, draw_noise, draw_sweep
from ._methods import AT_OWN_RATE, BASE, FORMS, name_of


def method_table(cell: Any) -> Table:
    """Every method at the end of training, and its paired difference to the base."""
    pairs = comparisons(cell.rows)["over_base"]
    header = [
        "optimizer", "learning rate", "train loss", "test loss", "test accuracy",
        f"over {BASE[cell.family]}, points", "p",
    ]  # fmt: skip
    option_two = any("drawn_test_accuracy" in row for row in cell.rows.values())
    if option_two:
        header.append("test accuracy, option II")
    body = []
    for method, row in cell.rows.items():
        if row["diverged_at"] is None:
            ends = [end_text(row, "train_loss"), end_text(row, "test_loss")]
            ends.append(end_text(row, "test_accuracy", 4))
        else:
            ends = ["–", "–", f"diverged at step {row['diverged_at']}"]
        pair = pairs.get(method)
        line = [
            name_of(method, cell.family), f"{row['learning_rate']:.3g}", *ends, points(pair),
            p_text(pair),
        ]  # fmt: skip
        if option_two:
            drawn = row.get("drawn_test_accuracy")
            line.append(mean_and_std(drawn, 4) if drawn else "–")
        body.append(line)
    return header, body


def end_text(row: dict[str, Any], metric: str, digits: int = 3) -> str:
    return mean_and_std(final(row, metric), digits)


def gain_table(cell: Any) -> Table:
    """The gain of each form beside those of its parts and controls, in points."""
    base = BASE[cell.family]
    header = [
        "test accuracy, points", f"over {base}", "pull alone", "inner schedule alone",
        "mean step alone", "best rate alone", "left over pull + schedule",
        "over mean step", "over best rate", "best over best",
    ]  # fmt: skip
    keys = (
        "gain", "pull", "schedule", "mean_step", "best_rate", "left_over", "over_mean_step",
        "over_best_rate", "best_over_best",
    )  # fmt: skip
    forms = comparisons(cell.rows)["forms"]
    return header, [
        [name_of(form, cell.family), *(points(gains[key]) for key in keys)]
        for form, gains in forms.items()
    ]


def search_table(cell: Any, grid: tuple[float, ...]) -> Table:
    """Accuracy on the held-out examples by learning rate, and where the best lies."""
    own = cell.task.learning_rates[cell.family]
    header = ["held-out accuracy at", *(f"{factor * own:.3g}" for factor in grid), "best"]
    body = []
    for method in AT_OWN_RATE:
        row = cell.rows[method]
        tried = {float(factor): found["accuracy"] for factor, found in row["tried"].items()}
        at_the_edge = row["factor"] in (min(grid), max(grid))
        remark = ", at the edge: a better one may lie beyond" if at_the_edge else ""
        body.append(
            [
                name_of(AT_OWN_RATE[method], cell.family),
                *(f"{tried[factor]:.4f}" if factor in tried else "diverged" for factor in grid),
                f"{row['learning_rate']:.3g}{remark}",
            ]
        )
    return header, body


def noise_table(cell: Any) -> Table:
    header = ["tr Σ over that of the base", "ratio", "each seed", "p", "ratio of the losses"]
    return header, [
        [
            name_of(method, cell.family),
            f"{ratio['ratio']:.3g}",
            ", ".join(f"{x:.3g}" for x in ratio["by_seed"]),
            p_text(ratio),
            f"{ratio['loss_ratio']:.3g}",
        ]
        for method, ratio in noise_ratios(cell.rows).items()
    ]


def tables_of(cells: list[Any]) -> dict[str, Table]:
    """The tables that are printed and kept, by title."""
    methods = {f"{BASE[cell.family]}: {cell.name}": method_table(cell) for cell in cells}
    return {**methods, **sweep_tables(cells)}


def sweep_tables(cells: list[Any]) -> dict[str, Table]:
    """Test accuracy by batch size, and by S, where there are several of them."""
    tables = {}
    for what, of, other in (
        ("batch size", lambda c: c.batch_size, lambda c: f"S = {c.period}"),
        ("S", lambda c: c.period, lambda c: f"batch {c.batch_size}"),
    ):
        groups: dict[str, list[Any]] = {}
        for cell in cells:
            title = f"{cell.task.network}, {cell.task.data}, {BASE[cell.family]}, {other(cell)}"
            groups.setdefault(f"test accuracy by {what}: {title}", []).append(cell)
        for title, group in groups.items():
            if len(group) > 1:
                tables[title] = sweep_table(group, what, of)
    return tables


def sweep_table(cells: list[Any], what: str, of: Callable[[Any], int]) -> Table:
    header = [what, *(str(of(cell)) for cell in cells)]
    body = [
        [
            name_of(method, cells[0].family),
            *(
                "diverged"
                if cell.rows[method]["diverged_at"] is not None
                else end_text(cell.rows[method], "test_accuracy", 4)
                for cell in cells
            ),
        ]
        for method in cells[0].rows
    ]
    base = BASE[cells[0].family]
    for form in FORMS:
        gains = [comparisons(cell.rows)["forms"][form]["gain"] for cell in cells]
        name = f"{name_of(form, cells[0].family)}, over {base}, points"
        body.append([name, *map(points, gains)])
    return header, body


def picture(cells: list[Any]) -> Figure:
    """What fits a README: error by batch size, or gains and tr Σ of each base optimizer."""
    sweeps = groups_by_batch_size(cells)
    if sweeps:
        figure = Figure(figsize=(8 * len(sweeps), 5), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(sweeps)))
        for (title, group), ax in zip(sweeps.items(), axes, strict=True):
            draw_sweep(group, ax)
            ax.set_title(title, fontsize="medium")
        return figure
    firsts = {cell.family: cell for cell in reversed(cells)}
    figure = Figure(figsize=(15, 4.5 * max(len(firsts), 1)), layout="constrained")
    axes = figure.subplots(max(len(firsts), 1), 3, squeeze=False)
    for line, cell in zip(axes, reversed(firsts.values()), strict=False):
        draw_gains(cell.rows, cell.family, line[0])
        line[0].set_title(cell.name, fontsize="medium")
        draw_curves(cell.rows, cell.family, line[1], "train", "loss")
        draw_noise(cell.rows, cell.family, line[2])
    for ax in axes.flat:
        ax.set_visible(ax.has_data())
    return figure


def write_report(
    config: Config,
    plan: Plan,
    problems: dict[str, Any],
    cells: list[Any],
    said: list[str],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report = Report("Small batches: does trajectory regularization help, and which part of it?")
    report.text(
        "Numbers are mean ± standard deviation over the seeds "
        f"0…{plan.seeds - 1} at the end of training. All optimizers of a table start from the same "
        "parameters and see the examples in the same order; differences are taken seed by seed, "
        "and p is that of the paired t-test. Learning rates fall tenfold after half of the epochs "
        f"and after three quarters. Momentum 0.9, weight decay {plan.weight_decay:g}, "
        f"λ = {plan.weight:g}. The best rate of an optimizer is that of the grid "
        f"{', '.join(f'{factor:g}' for factor in plan.grid)} times its own whose accuracy on a "
        "held-out fifth of the training set is highest after training on the rest; the test set "
        "has no part in it."
    )
    report.heading("What the runs say")
    for sentence in said:
        report.text(sentence)
    for title, table in sweep_tables(cells).items():
        report.heading(title[0].upper() + title[1:])
        report.table(*table)
    for title, group in groups_by_batch_size(cells).items():
        figure = Figure(figsize=(16, 4.5), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        draw_sweep(group, left)
        draw_batches(group, middle, "train", "loss")
        draw_batches(group, right, "test", "accuracy")
        report.figure(
            figure,
            f"{title}: test error by batch size; training loss and test accuracy by step.",
        )
    for cell in cells:
        report_cell(report, cell, plan.grid)
    report.heading("Where and how")
    report.table(
        ["network, data", "set", "trained on", "tested on", "tr Σ over"],
        [
            [name, p["description"], p["num_train"], p["num_test"], p["num_subset"]]
            for name, p in problems.items()
        ],
    )
    settings = dataclasses.asdict(config) | dataclasses.asdict(plan)
    del settings["tasks"]
    for task in plan.tasks:
        settings[f"{task.network}, {task.data}"] = dataclasses.asdict(task)
    report.provenance("small_batch", settings, where, seconds)
    return report


def report_cell(report: Report, cell: Any, grid: tuple[float, ...]) -> None:
    report.heading(f"{BASE[cell.family]}: {cell.name}")
    report.table(*method_table(cell))
    report.text(
        "Gains over the base optimizer; left over is what the whole has above the sum of its two "
        "parts. The inner schedule alone does not renew its cycle with the epoch, as the reference "
        "form does."
    )
    report.table(*gain_table(cell))
    report.table(*search_table(cell, grid))
    figure = Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_gains(cell.rows, cell.family, axes[0, 0])
    draw_noise(cell.rows, cell.family, axes[0, 1])
    draw_curves(cell.rows, cell.family, axes[1, 0], "train", "loss")
    draw_curves(cell.rows, cell.family, axes[1, 1], "test", "accuracy")
    for ax in axes.flat:
        ax.set_visible(ax.has_data())
    report.figure(
        figure,
        "Gains of test accuracy, a dot for each seed; tr Σ along the trajectories, a line for each "
        "seed; training loss and test accuracy by epoch, the bands one deviation.",
    )
    if noise_ratios(cell.rows):
        report.text(
            "The covariance of a mini-batch's gradient is Σ over the batch size. The pull has no "
            "noise of its own, so at equal parameters tr Σ is the same with and without it: the "
            "ratio, a geometric mean over the epochs, is one of trajectories. tr Σ falls with the "
            "loss, so a lower or higher loss explains part of it."
        )
        report.table(*noise_table(cell))
