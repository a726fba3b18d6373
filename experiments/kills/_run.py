"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .._common import Report, Table, begin, finish, remembered, say
from ._compare import damaged, differences
from ._config import Config, Plan, jobs_of, plan_of
from ._kill import Moment, draw, run_job

_KILLS_OF_A_RUN = 3


def run(config: Config) -> None:
    """Tries all jobs, reading back those that are finished, and reports on them.

    Raises:
      ValueError: if a run that was killed left something else than one that was let alone.
    """
    started = time.perf_counter()
    plan = plan_of(config)
    begin(config.out / "parts", plan, config.resume)
    rows = {}
    for job in jobs_of(config):
        compute = functools.partial(tried, job, plan, config.out)
        rows[job] = remembered(config.out / "parts" / f"{job}.json", compute)
    tables = {"interrupted runs": table_of(rows)}
    report = functools.partial(_report, rows)
    finish(config, plan, started, {"jobs": rows}, tables, [verdict(rows)], {}, report)
    if differing := [job for job, row in rows.items() if row["identical"] < row["runs"]]:
        raise ValueError(
            f"runs of {', '.join(differing)} differ from the undisturbed one: see results.json, "
            f"and what they left in {config.out / 'runs'}"
        )


def tried(job: str, plan: Plan, out: Path) -> dict[str, Any]:
    """Kills a job so many times, in as many runs as that takes.

    Raises:
      ValueError: if two undisturbed runs differ, or fail.
    """
    folder, programs = out / "runs" / job, out / "programs"
    shutil.rmtree(folder, ignore_errors=True)
    say(f"{job}: undisturbed, twice")
    alone = [run_job(job, folder / name, programs) for name in ("first", "second")]
    if any(ending.status for ending in alone):
        raise ValueError(f"{job} fails even where nobody disturbs it, see above")
    if found := differences(folder / "first", folder / "second"):
        raise ValueError(f"{job}: two undisturbed runs differ in {', '.join(found)}")
    rng = np.random.default_rng([plan.seed, *job.encode()])
    moments = [draw(rng, number, alone[1]) for number in range(plan.kills)]
    runs: list[dict[str, Any]] = []
    while moments:
        found = disturbed(job, folder / f"run{len(runs)}", programs, moments)
        found["differences"] += differences(folder / "first", folder / f"run{len(runs)}")
        runs.append(found)
        say(
            f"{job}: run {len(runs)} killed at {', '.join(found['places']) or 'no time'}: "
            + (", ".join(found["differences"]) or "identical")
        )
        if not found["differences"]:
            shutil.rmtree(folder / f"run{len(runs) - 1}")
    places = Counter(place for found in runs for place in found["places"])
    return {
        "seconds": alone[1].seconds,
        "saves": len(alone[1].saves),
        "save_seconds": float(np.mean(alone[1].saves or 0.0)),
        "kills": plan.kills,
        "hit": places.total(),
        "places": places,
        "runs": len(runs),
        "identical": sum(not found["differences"] for found in runs),
        "by_run": runs,
    }


def disturbed(job: str, folder: Path, programs: Path, moments: list[Moment]) -> dict[str, Any]:
    """One run, killed at the next of the moments, which it uses up, until it has ended."""
    places: list[str] = []
    broken: set[str] = set()
    for left in reversed(range(_KILLS_OF_A_RUN + 1)):
        moment = moments.pop(0) if left and moments else None
        ending = run_job(job, folder, programs, moment)
        broken.update(damaged(folder))
        if ending.place is None:
            break
        places.append(ending.place)
    failed = [f"exit status {ending.status}"] if ending.status else []
    return {"places": places, "differences": failed + sorted(broken)}


def table_of(rows: dict[str, dict[str, Any]]) -> Table:
    header = ["job", "seconds alone", "kills tried", "hit", "start", "step", "save"]
    body = [
        [
            job,
            f"{row['seconds']:.1f}",
            str(row["kills"]),
            str(row["hit"]),
            *(str(row["places"].get(place, 0)) for place in ("start", "step", "save")),
            f"{row['identical']} of {row['runs']}",
        ]
        for job, row in rows.items()
    ]
    return [*header, "identical runs"], body


def verdict(rows: dict[str, dict[str, Any]]) -> str:
    hit, runs, identical = (
        sum(row[name] for row in rows.values()) for name in ("hit", "runs", "identical")
    )
    return f"{hit} kills in {runs} runs: {identical} runs left what undisturbed ones leave."


def _report(rows: dict[str, dict[str, Any]], where: dict[str, Any], seconds: float) -> Report:
    report = Report("Interrupted runs")
    report.text(verdict(rows))
    report.text(
        "start: killed before it had finished an epoch or a row since it was started; step: after "
        "that; save: while it was writing. Kills that came after the end of a run hit nothing."
    )
    report.table(*table_of(rows))
    report.heading("Where and how")
    report.provenance("kills", {}, where, seconds)
    return report
