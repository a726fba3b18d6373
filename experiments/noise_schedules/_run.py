"""The experiment from top to bottom."""

from __future__ import annotations

import dataclasses
import functools
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
from ._compare import compared, small_powers_against, smoothing
from ._config import Config, Plan, Task, file_name, plan_of
from ._imagenet import is_imagenet, open_imagenet
from ._methods import STARTS, runs_of
from ._pictures import methods_picture, rates_picture, schedules_picture
from ._problem import Problem, problem_of
from ._report import tables_of, write_report
from ._schedules import trained_side_by_side
from ._train import trained
from ._verdict import methods_verdict, rates_verdict, schedules_verdict


@dataclasses.dataclass(frozen=True)
class Cell:
    """All that was trained on one problem."""

    task: Task
    problem: dict[str, Any]  # what it is, and how many examples it has
    methods: dict[str, dict[str, Any]]  # where they start → method → recorded run
    schedules: dict[str, Any]  # title → recorded run


def run(config: Config) -> None:
    """Trains what is not finished, compares it and reports on it."""
    started = time.perf_counter()
    plan = plan_of(config)
    names = dict.fromkeys(task.data for task in plan.tasks)
    datasets = {name: _opened(name, config) for name in names}
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    with open_curves(config.out, config.log, resume=config.resume) as curves:
        cells = []
        for task in plan.tasks:
            problem = problem_of(datasets[task.data], plan, task)
            cells.append(cell_of(problem, config, plan, task, folder, curves))

    said = [what_seeds_can_tell(plan.seeds)]
    for cell in cells:
        said += verdicts(cell, plan)
    tables = {
        title: table for cell in cells for title, table in tables_of(cell, plan.decay).items()
    }
    pictures = {}
    for cell in cells:
        name = file_name(cell.task.data, cell.task.network)
        pictures[f"{name}_rates"] = rates_picture(cell)
        if cell.methods:
            pictures[f"{name}_stages"] = methods_picture(cell, plan)
        if cell.schedules:
            pictures[f"{name}_schedules"] = schedules_picture(cell, plan.learning_rate)
    results = {"cells": [results_of(cell, plan) for cell in cells]}
    report = functools.partial(write_report, config, plan, cells, said)
    finish(config, plan, started, results, tables, said, pictures, report)


def _opened(name: str, config: Config) -> jn.data.Dataset:
    if is_imagenet(name):
        return open_imagenet(config.data_dir)
    return jn.data.load(name, data_dir=config.data_dir)


def cell_of(
    problem: Problem, config: Config, plan: Plan, task: Task, folder: Path, curves: Curves
) -> Cell:
    """The parts that are asked for; runs that two comparisons share are trained once."""
    methods, schedules = {}, {}
    if "methods" in config.only:
        for start in STARTS:
            methods[start] = {}
            for method, one in runs_of(task, start, plan).items():
                compute = functools.partial(trained, problem, plan, one, folder / one.name, curves)
                methods[start][method] = remembered(folder / f"{one.name}.json", compute)
    if "schedules" in config.only:
        stem = folder / file_name(task.data, task.network, "schedules")
        compute = functools.partial(trained_side_by_side, problem, plan, task, stem, curves)
        schedules = remembered(stem.with_suffix(".json"), compute)
    described = {
        "description": problem.description,
        "num_train": problem.num_examples,
        "num_test": problem.num_test,
        "num_probe": len(problem.probe["label"]),
    }
    return Cell(task, described, methods, schedules)


def verdicts(cell: Cell, plan: Plan) -> list[str]:
    said = []
    for start, rows in cell.methods.items():
        said += methods_verdict(cell.task.name, start, rows, plan.decay)
    if cell.methods:
        fixed = {
            one.name: cell.methods[start][method]
            for start in STARTS
            for method, one in runs_of(cell.task, start, plan).items()
            if not one.measures
        }
        said += rates_verdict(f"{cell.task.name}, methods 1 to 4", fixed)
    if cell.schedules:
        where = f"{cell.task.name}, schedules by epoch"
        said += schedules_verdict(where, cell.schedules)
        said += rates_verdict(where, cell.schedules)
    return said


def results_of(cell: Cell, plan: Plan) -> dict[str, Any]:
    """The numbers of a cell, as JSON values."""
    return {
        "name": cell.task.name,
        "problem": cell.problem,
        "methods": {
            start: {
                "runs": rows,
                "over_decay_lr": {m: compared(row, rows["decay_lr"]) for m, row in rows.items()},
                "smoothing": {m: smoothing(row, m, plan.decay) for m, row in rows.items()},
            }
            for start, rows in cell.methods.items()
        },
        "schedules": cell.schedules,
        "small_powers_against": small_powers_against(cell.schedules) if cell.schedules else {},
    }
