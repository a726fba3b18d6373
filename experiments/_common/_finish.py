"""The end of an experiment: what it writes into its folder, and what it prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from ._environment import environment
from ._report import Report, save_picture, text_table
from ._run_folder import write_json

Table = tuple[list[str], list[list[str]]]  # header, rows


def finish(
    config: Any,
    plan: Any,
    started: float,
    results: dict[str, Any],
    tables: dict[str, Table],
    said: Sequence[str],
    pictures: dict[str, Figure],
    report: Callable[[dict[str, Any], float], Report],
) -> None:
    """Writes results.json, the pictures and report.html; prints the tables and the sentences.

    Args:
      config: the options, with the folder `out`.
      plan: all that the numbers depend on.
      started: `time.perf_counter()` when the experiment began.
      results: the numbers, by name.
      tables: the tables, by title.
      said: what the numbers say.
      pictures: the pictures for READMEs, by name without ".png".
      report: makes the report, given the environment and the seconds since the start.
    """
    where, seconds = environment(), time.perf_counter() - started
    contents = {
        "settings": config,
        "plan": plan,
        "environment": where,
        "seconds": seconds,
        **results,
        "tables": {title: [header, *rows] for title, (header, rows) in tables.items()},
        "verdicts": said,
    }
    write_json(config.out / "results.json", contents)
    for name, figure in pictures.items():
        save_picture(config.out / f"{name}.png", figure)
    page = config.out / "report.html"
    report(where, seconds).save(page)
    for title, table in tables.items():
        print(title)
        print(text_table(*table) + "\n")
    print(*said, sep="\n")
    print(f"\n{page} written after {seconds:.0f} s")
