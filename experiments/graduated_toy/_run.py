"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .._common import (
    Table,
    begin,
    finish,
    open_curves,
    remembered,
    say,
    what_seeds_can_tell,
)
from ._compare import nice_verdict, verdict
from ._config import Config, Plan, plan_of
from ._count import cells_of, counted, log
from ._nice import DIMENSIONS, reports
from ._report import (
    first_table,
    nice_table,
    picture,
    probability_table,
    share_table,
    write_report,
)
from ._schedules import decay_table
from ._smoothing import picture_data


def run(config: Config) -> None:
    """Runs the parts, reading back those that are finished, and reports on them."""
    started = time.perf_counter()
    plan = plan_of(config)
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    parts = parts_of(config, plan, folder)
    with open_curves(config.out, config.log) as curves:
        for cell in parts.get("descent", []):
            log(curves, cell)

    cells = parts.get("descent", [])
    said = nice_verdict(parts.get("nice", {}))
    if cells:
        said += [what_seeds_can_tell(plan.seeds), *verdict(cells, plan)]
    pictures = {"graduated_toy": picture(parts, plan)}
    report = functools.partial(write_report, config, plan, parts, said)
    finish(config, plan, started, parts, tables_of(parts, plan), said, pictures, report)


def parts_of(config: Config, plan: Plan, folder: Path) -> dict[str, Any]:
    """The parts that are asked for, by name."""
    parts: dict[str, Any] = {}
    if "smoothing" in config.only:
        say("a function and its smoothings")
        parts["smoothing"] = remembered(
            folder / "smoothing.json", lambda: {d: picture_data(d) for d in (1, 2)}
        )
    if "schedules" in config.only:
        parts["schedules"] = remembered(folder / "schedules.json", decay_table)
    cells = cells_of(plan)
    if "nice" in config.only:
        few = [(name, d) for name, d in cells if d in DIMENSIONS]
        found = side_by_side(reports, few, plan, folder / "nice")
        parts["nice"] = {f"{name} {d}-D": f for (name, d), f in zip(few, found, strict=True)}
    if "descent" in config.only:
        parts["descent"] = side_by_side(counted, cells, plan, folder / "descent")
    return parts


def side_by_side(
    compute: Callable, cells: list[tuple[str, int]], plan: Plan, folder: Path
) -> list[Any]:
    """What is computed for each function and dimension, if its file is not there yet.

    A program of few starts keeps one core busy, so there are as many at once as there are cores.
    """

    def finished(cell: tuple[str, int]) -> Any:
        name, dimension = cell
        path = folder / f"{name}_{dimension}.json"
        return remembered(path, functools.partial(compute, name, dimension, plan))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(finished, cells))


def tables_of(parts: dict[str, Any], plan: Plan) -> dict[str, Table]:
    """The tables that are printed and kept, by title."""
    tables = {}
    if "schedules" in parts:
        tables["first step outside the admissible region"] = first_table(parts["schedules"])
        tables["share of directions with admissible decays"] = probability_table(parts["schedules"])
    if parts.get("nice"):
        tables["nice functions"] = nice_table(parts["nice"])
    if cells := parts.get("descent"):
        for budget in ("gradients", "steps"):
            title = f"starts at the global minimum, %, equal numbers of {budget}"
            tables[title] = share_table(cells, plan, budget)
    return tables
