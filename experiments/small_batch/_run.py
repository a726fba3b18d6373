"""The experiment from top to bottom."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from pathlib import Path
from typing import Any

import jaxnoise as jn

from .._common import (
    Curves,
    begin,
    finish,
    open_curves,
    remembered,
    what_seeds_can_tell,
)
from ._compare import (
    batch_verdict,
    comparisons,
    groups_by_batch_size,
    noise_ratios,
    verdict,
)
from ._config import Config, Family, Plan, Task, plan_of
from ._methods import METHODS
from ._problem import Problem, problem_of
from ._report import picture, tables_of, write_report
from ._search import at_best_rate
from ._train import Run, trained


@dataclasses.dataclass(frozen=True)
class Cell:
    """All methods with one base optimizer, batch size and period on one problem."""

    task: Task
    family: Family
    batch_size: int
    period: int
    rows: dict[str, Any]  # method → recorded run

    @property
    def name(self) -> str:
        return f"{self.task.network}, {self.task.data}, batch {self.batch_size}, S = {self.period}"


def run(config: Config) -> None:
    """Trains what is not finished, compares it and reports on it."""
    started = time.perf_counter()
    plan = plan_of(config)
    names = dict.fromkeys(task.data for task in plan.tasks)
    datasets = {name: jn.data.load(name, data_dir=config.data_dir) for name in names}
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    with open_curves(config.out, config.log, resume=config.resume) as curves:
        cells, problems = trained_cells(config, plan, datasets, folder, curves)

    said = [what_seeds_can_tell(plan.seeds)]
    for cell in cells:
        said += verdict(cell.name, cell.family, cell.rows)
    for title, group in groups_by_batch_size(cells).items():
        said += batch_verdict(title, group)
    results = {
        "problems": problems,
        "cells": [
            {
                "name": cell.name,
                "data": cell.task.data,
                "network": cell.task.network,
                "family": cell.family,
                "batch_size": cell.batch_size,
                "period": cell.period,
                "runs": cell.rows,
                "test_accuracy": comparisons(cell.rows),
                "train_loss": comparisons(cell.rows, "train_loss"),
                "noise": noise_ratios(cell.rows),
            }
            for cell in cells
        ],
    }
    pictures = {"small_batch": picture(cells)}
    report = functools.partial(write_report, config, plan, problems, cells, said)
    finish(config, plan, started, results, tables_of(cells), said, pictures, report)


def trained_cells(
    config: Config, plan: Plan, datasets: dict[str, Any], folder: Path, curves: Curves
) -> tuple[list[Cell], dict[str, Any]]:
    """Every cell of the plan, and what the problems are, by name."""
    cells, problems = [], {}
    for task in plan.tasks:
        problem = problem_of(datasets[task.data], plan, task)
        problems[f"{task.network}, {task.data}"] = {
            "description": problem.description,
            "num_train": len(problem.train["label"]),
            "num_test": len(problem.test["label"]),
            "num_subset": len(problem.subset["label"]) if problem.subset else 0,
        }
        for batch_size, family, period in itertools.product(
            plan.batch_sizes, config.only, plan.periods
        ):
            rows = {}
            for method in METHODS:
                one = Run(task, family, batch_size, method, period)
                rows[method] = finished(problem, plan, one, folder, curves)
            cells.append(Cell(task, family, batch_size, period, rows))
    return cells, problems


def finished(
    problem: Problem, plan: Plan, run: Run, folder: Path, curves: Curves
) -> dict[str, Any]:
    """The record of one run, trained if its file is not there yet."""
    train = at_best_rate if METHODS[run.method].rate == "best" else trained
    compute = functools.partial(train, problem, plan, run, folder / run.name, curves)
    return remembered(folder / f"{run.name}.json", compute)
