"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxnoise._results import read_npz

from .._common import (
    Curves,
    begin,
    environment,
    open_curves,
    remembered,
    save_picture,
    text_table,
    what_seeds_can_tell,
    write_json,
)
from ._compare import comparisons, summary, verdict
from ._config import Config, Plan, Task, plan_of
from ._figures import grid
from ._methods import METHODS
from ._problem import Problem, problem_of
from ._report import difference_table, score_table, write_report
from ._score import METRICS, SCORERS, distance, scorer_of, scores
from ._translate import start_of, translated

_SHOWN = 3  # test images of each data set


def run(config: Config) -> None:
    """Trains what is not finished, scores it and reports on it."""
    started = time.perf_counter()
    plan = plan_of(config)
    problems = {task.data: problem_of(task, config.data_dir) for task in plan.tasks}
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    cells, images = {}, {}
    with open_curves(config.out, config.log, resume=config.resume) as curves:
        for task in plan.tasks:
            problem, stem = problems[task.data], folder / task.data.replace("/", "_")
            cells[task.data], images[task.data] = cell_of(problem, plan, task, stem, curves)

    where, seconds = environment(), time.perf_counter() - started
    said = [what_seeds_can_tell(plan.seeds)]
    said += summary({data: cell["rows"] for data, cell in cells.items()}, plan.seeds)
    for data, cell in cells.items():
        said += verdict(data, cell["rows"])
    picture = grid(problems, images, _SHOWN)
    results = {
        "settings": config,
        "plan": plan,
        "environment": where,
        "seconds": seconds,
        "cells": cells,
        "comparisons": {data: comparisons(cell["rows"]) for data, cell in cells.items()},
        "tables": {
            data: {scorer: score_table(cell, scorer) for scorer in SCORERS}
            for data, cell in cells.items()
        },
        "verdicts": said,
    }
    write_json(config.out / "results.json", results)
    save_picture(config.out / "image_translation.png", picture)
    report = write_report(config, plan, cells, said, picture, where, seconds)
    report.save(config.out / "report.html")
    for data, cell in cells.items():
        print(data)
        for scorer in SCORERS:
            for table in (score_table(cell, scorer), difference_table(cell, scorer)):
                print(text_table(*table) + "\n")
    print(*said, sep="\n")
    print(f"\n{config.out / 'report.html'} written after {seconds:.0f} s")


def cell_of(
    problem: Problem, plan: Plan, task: Task, stem: Path, curves: Curves
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All numbers of one data set, and each method's test images (seeds, n, H, W, C)."""
    scorers = {name: scorer_of(problem, task, name, stem, curves) for name in SCORERS}
    truth = {
        name: scores(scorer, problem, problem.test["image"]) for name, scorer in scorers.items()
    }
    start = start_of(problem, task, plan.seeds)
    rows, images = {}, {}
    for method in METHODS:
        path = stem / method
        compute = functools.partial(translated, problem, plan, task, start, method, path, curves)
        rows[method] = remembered(path.with_name(f"{method}.json"), compute)
        images[method] = read_npz(path.with_name(f"{method}.npz"))["image"]
        found = {
            name: [scores(scorer, problem, x) for x in images[method]]
            for name, scorer in scorers.items()
        }
        rows[method] |= {
            "scores": {
                name: {metric: [s[metric] for s in of_seeds] for metric in METRICS}
                for name, of_seeds in found.items()
            },
            "l1": [distance(problem, x) for x in images[method]],
        }
    return {
        "description": problem.description,
        "num_train": len(problem.train["label"]),
        "num_test": len(problem.test["label"]),
        "num_classes": problem.num_classes,
        "ground_truth": truth,
        "rows": rows,
    }, images
