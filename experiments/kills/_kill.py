"""Runs a job in a process of its own, and kills it at a moment."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ._jobs import work

Place = Literal["start", "step", "save"]

_PAUSE = 0.002  # seconds between looks at the folder
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)


@dataclasses.dataclass(frozen=True)
class Moment:
    """So many seconds after the start, or after the beginning of one of the saves.

    Attributes:
      seconds: to wait.
      save: number of the save, counted from 0; None for the start.
    """

    seconds: float
    save: int | None = None


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
      place: what it was doing when it was killed; None where it ended by itself.
      status: its exit status.
      seconds: from its start.
      saves: seconds that each of the saves took that were seen.
    """

    place: Place | None
    status: int | None
    seconds: float
    saves: tuple[float, ...]


def run_job(job: str, folder: Path, programs: Path, moment: Moment | None = None) -> Ending:
    """Starts the job, watches it, and kills it at the moment, if it comes to that.

    Args:
      job: its name.
      folder: where it keeps what it has done.
      programs: where compiled programs are kept.
      moment: when to kill it; None never does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _METHOD == "forkserver":
        _CONTEXT.set_forkserver_preload([work.__module__])  # imports take longer than jobs
    process = _CONTEXT.Process(target=work, args=(job, folder, programs), daemon=True)
    before, saves, saving = done(folder), [], None
    started = time.perf_counter()
    process.start()
    while process.is_alive():
        now = time.perf_counter()
        is_saving = any(_is_begun(name) for name in names(folder))
        if is_saving and saving is None:
            saving = now
        if not is_saving and saving is not None:
            saves.append(now - saving)
            saving = None
        if moment is not None and _is_due(moment, now, started, saves, saving):
            process.kill()
            break
        time.sleep(_PAUSE)
    process.join()
    place = None
    if process.exitcode == -signal.SIGKILL:
        place = place_of(folder, before)
    return Ending(place, process.exitcode, time.perf_counter() - started, tuple(saves))


def _is_due(
    moment: Moment, now: float, started: float, saves: list[float], saving: float | None
) -> bool:
    if moment.save is None:
        return now >= started + moment.seconds
    # A save that is over before its time has come is taken at its end.
    at_it = len(saves) == moment.save and saving is not None and now >= saving + moment.seconds
    return at_it or len(saves) > moment.save


def draw(rng: np.random.Generator, number: int, alone: Ending) -> Moment:
    """A moment of a job that took its course as told: any for even numbers, in a save for odd."""
    if number % 2 == 0 or not alone.saves:
        return Moment(rng.uniform(0, alone.seconds))
    save = int(rng.integers(len(alone.saves)))
    return Moment(rng.uniform(0, alone.saves[save]), save)


def place_of(folder: Path, before: frozenset[str]) -> Place:
    """What a process that was killed was doing, by what it left.

    Args:
      folder: that it worked in.
      before: what was `done` there when it started.
    """
    if any(_is_begun(name) for name in names(folder)):
        return "save"
    return "start" if done(folder) == before else "step"


def done(folder: Path) -> frozenset[str]:
    """What tells whether anything has been finished."""
    found = (path for path in folder.rglob("*") if not _is_begun(path.name))
    files = [path for path in found if not path.name.endswith(".lock") and path.is_file()]
    return frozenset(f"{path} {path.stat().st_mtime_ns}" for path in files)


def names(folder: Path) -> Iterator[str]:
    """Of all files and folders but those in finished checkpoints."""
    for _, folders, files in os.walk(folder):
        yield from (*folders, *files)
        folders[:] = [name for name in folders if not name.isdecimal()]


def _is_begun(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written."""
    return "checkpoint-tmp" in name or (name.startswith(".") and name.endswith(".part"))
