"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxnoise._results import read_npz, write_npz

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
from ._compare import Member, Study, compared, paths
from ._config import Config, Plan, Task, plan_of
from ._figures import examples, landscapes, trajectories
from ._networks import MAIN
from ._problem import Problem, problem_of
from ._report import tables_of, write_report
from ._scores import METRICS, baseline, predicted, scores
from ._train import Run, mean_loss, network_of, snapshots_of, trained
from ._verdict import verdicts

_SHOWN = 2  # test images


def run(config: Config) -> None:
    """Trains what is not finished, compares it at equal training loss and reports on it."""
    started = time.perf_counter()
    plan = plan_of(config)
    problems = {task.data: problem_of(task, config.data_dir) for task in plan.tasks}
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    cells, figures = {}, {}
    with open_curves(config.out, config.log, resume=config.resume) as curves:
        for task in plan.tasks:
            cells[task.data], figures[task.data] = cell_of(
                problems[task.data], plan, task, folder / task.data, curves
            )

    where, seconds = environment(), time.perf_counter() - started
    said = [what_seeds_can_tell(plan.seeds)]
    for data, cell in cells.items():
        said += verdicts(data, cell)
    tables = {title: table for cell in cells.values() for title, table in tables_of(cell).items()}
    results = {
        "settings": config,
        "plan": plan,
        "environment": where,
        "seconds": seconds,
        "cells": cells,
        "tables": tables,
        "verdicts": said,
    }
    write_json(config.out / "results.json", results)
    for data, of_data in figures.items():
        for name, (figure, _) in of_data.items():
            save_picture(config.out / f"{data}_{name}.png", figure)
    report = write_report(config, plan, cells, figures, said, where, seconds)
    report.save(config.out / "report.html")
    for title, table in tables.items():
        print(title)
        print(text_table(*table) + "\n")
    print(*said, sep="\n")
    print(f"\n{config.out / 'report.html'} written after {seconds:.0f} s")


def cell_of(
    problem: Problem, plan: Plan, task: Task, folder: Path, curves: Curves
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All numbers of one data set, and its figures with their captions."""
    networks = {name: network_of(problem, task, name, plan.seeds) for name in task.networks}

    def member(name: str, batch_size: int) -> Member:
        run, network = Run(task, name, batch_size), networks[name]
        compute = functools.partial(trained, problem, plan, run, network, folder, curves)
        return Member(run, network, remembered(folder / f"{run.name}.json", compute))

    members = {name: member(name, plan.batch_size) for name in networks}
    scored, outputs = {}, {}
    for name, one in members.items():
        compute = functools.partial(scores_of, problem, plan, one, folder)
        scored[name] = remembered(folder / f"{one.run.name}_scores.json", compute)
        outputs[name] = read_npz(folder / f"{one.run.name}_outputs.npz")["outputs"]
    cell: dict[str, Any] = {
        "data": task.data,
        "kind": task.kind,
        "description": problem.description,
        "patches": {part: len(x["image"]) for part, x in problem.patches.items()},
        "trainings": {one.run.name: one.row for one in members.values()},
        "scores": scored,
        "baseline": baseline(task, problem.images["test"]),
    }
    figures = {"outputs": examples(problem, task, outputs)}
    if task.landscapes:
        study = Study("networks", plan.radius, plan.epsilons)
        between_networks = compared(problem, plan, members, study, folder)
        figures |= landscapes("networks", between_networks["grids"], plan.radius)
        figures["paths"] = trajectories(
            paths(problem, plan, {k: members[k] for k in MAIN if k in members}, folder)
        )
        between_sizes, grids = {}, {}
        for name in (name for name in MAIN if name in members):
            pair = {
                f"{name}, B{size}": member(name, size)
                for size in (plan.small_batch_size, plan.batch_size)
            }
            cell["trainings"] |= {one.run.name: one.row for one in pair.values()}
            study = Study("batch_sizes", plan.batch_radius, plan.batch_epsilons)
            between_sizes[name] = compared(problem, plan, pair, study, folder)
            for kind, of_kind in between_sizes[name].pop("grids").items():
                grids.setdefault(kind, {}).update(of_kind)
        figures |= landscapes("batch_sizes", grids, plan.batch_radius)
        del between_networks["grids"]
        cell |= {"networks": between_networks, "batch_sizes": between_sizes}
    for name in cell["trainings"]:
        shutil.rmtree(folder / name, ignore_errors=True)  # its snapshots
    return cell, figures


def scores_of(problem: Problem, plan: Plan, member: Member, folder: Path) -> dict[str, list[float]]:
    """Metric → one for each seed, at the epoch of the lowest validation loss.

    Writes the outputs of seed 0 for the first test images to a file, too.
    """
    snapshots = snapshots_of(plan, member.run, member.network, folder)
    epochs, test = list(snapshots), problem.images["test"]
    names = ("epoch", "validation loss", "test loss", *METRICS[member.run.task.kind])
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(plan.seeds):
        losses = member.row["validation"][seed]
        best = int(np.argmin(losses))
        params = snapshots.load(epochs[best], seed)
        outputs = predicted(member.network, params, member.run.task, test["image"])
        if seed == 0:
            shown = folder / f"{member.run.name}_outputs.npz"
            write_npz(shown, {"outputs": outputs[:_SHOWN]})
        row = {
            "epoch": epochs[best],
            "validation loss": losses[best],
            "test loss": mean_loss(member.network, params, problem.patches["test"]),
            **scores(member.run.task, outputs, test),
        }
        for name, value in row.items():
            found[name].append(value)
    return found
