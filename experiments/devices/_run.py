"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import time
from typing import Any

import jax

from jaxnoise._results import read_npz

from .._common import begin, finish, remembered, say
from ._compare import compared, disagreements, table_of
from ._config import Config, Piece, Plan, counts_of, pieces_of, plan_of
from ._cores import physical_cores
from ._estimate import estimated
from ._measure import file_of, is_possible, measure, measure_simulated, simulated
from ._pieces import SIZES, check_count
from ._report import estimate_tables, report_of, sentences


def run(config: Config) -> None:
    """Measures all pieces of work, reading back those that are finished, and estimates.

    Raises:
      ValueError: if more devices find something else than one does.
    """
    started = time.perf_counter()
    plan = plan_of(config)
    for count in counts_of(config):
        check_count(count, SIZES[plan.preset])
    begin(config.out / "parts", plan, config.resume)
    rows = measured(config, plan)
    compute = functools.partial(estimated, plan.cluster)
    estimate = remembered(config.out / "parts" / "estimate.json", compute)
    machine = {"physical_cores": physical_cores(), "simulated": simulated(config)}
    said = sentences(rows, machine, estimate, plan.cluster)
    tables = {"devices": table_of(rows)} | estimate_tables(estimate)
    results = {"pieces": rows, "estimate": estimate, "machine": machine}
    report = functools.partial(report_of, config, tables, said)
    finish(
        config, plan, started, results, tables, [*said["devices"], *said["estimate"]], {}, report
    )
    if found := disagreements(rows):
        raise ValueError(f"more devices find something else than one: {'; '.join(found)}")


def measured(config: Config, plan: Plan) -> dict[Piece, dict[int, Any]]:
    """For each piece and number of devices what `compared` tells."""
    counts, pieces, folder = counts_of(config), pieces_of(config), config.out / "parts"
    is_simulated = simulated(config)
    if not is_simulated:
        missing = [count for count in counts if not is_possible(count)]
        counts = tuple(count for count in counts if count not in missing)
        if missing:
            say(f"of --devices {missing} are left out: there are {jax.device_count()}")
    for count in counts:
        left: list[Piece] = [
            piece for piece in pieces if not file_of(folder, piece, count).is_file()
        ]
        if left:
            do = measure_simulated if is_simulated else measure
            do(count, left, plan, folder)
    rows: dict[Piece, dict[int, Any]] = {}
    for piece in pieces:
        found = {count: read_npz(file_of(folder, piece, count)) for count in counts}
        rows[piece] = {count: compared(piece, found[1], found[count]) for count in counts}
    return rows
