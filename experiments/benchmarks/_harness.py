"""Measures contestants in turn, in one process, and keeps what came out."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jax

from experiments._common import environment, say, text_table, write_json
from jaxnoise._checks import one_line

from ._measured import Ratio, device_name, number, quotient, spread

RESULTS = Path(__file__).parent / "results"

# Threads of the contestant before go on spinning for a while.
_PAUSE = 0.3

# By the name that a peer is imported by, the one that pip knows.
_PEERS = {
    "torch": "torch",
    "backpack": "backpack-for-pytorch",
    "opacus": "opacus",
    "landscaper": "landscaper",
    "loss_landscapes": "loss-landscapes",
    "monai": "monai",
}
NOT_INSTALLED = "not installed: "

Contestant = Callable[[], Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Race:
    """Contestants that do the same work, by name.

    A contestant runs once per call and returns when its work is done; `work` says how many units
    (steps, layers) a call of each comprises, so that times are per unit. `references` are those
    contestants, beside the peer, to whose times ratios are wanted, too. `absent` says of a
    contestant that can't take part why. Memory is that of this process; `memory` is False where
    contestants work in others.
    """

    case: str
    contestants: dict[str, Contestant]
    work: dict[str, int]
    peer: str
    references: tuple[str, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)
    memory: bool = True


def chosen(cases: Mapping[str, T], only: Sequence[str]) -> list[T]:
    """The cases whose names contain all that one of these has between its commas; else all."""
    wanted = [text.lower().split(", ") for text in only or ("",)]
    found = [
        case
        for name, case in cases.items()
        if any(all(part in name.lower() for part in parts) for parts in wanted)
    ]
    if not found:
        names = " ".join(repr(text) for text in only)
        raise ValueError(f"no case has {names} in its name: choose from {'; '.join(cases)}")
    return found


def not_installed(error: ImportError) -> str:
    """What to do about a peer that can't be imported."""
    module = (error.name or "").split(".")[0]
    if module and isinstance(error, ModuleNotFoundError):
        return f"{NOT_INSTALLED}pip install {_PEERS.get(module, module)}"
    return one_line(error)


def run(race: Race, repetitions: int) -> dict[str, Any]:
    """Times per unit of work (ms), and their ratios to the peer's, of alternating runs.

    The ratio of a contestant is the median over rounds of its time over the peer's in the same
    round; its spread is the interquartile range. Every contestant runs twice before.
    """
    for contestant in race.contestants.values():
        contestant()
    memory = {
        name: _peak_memory(contestant) if race.memory else None
        for name, contestant in race.contestants.items()
    }
    times: dict[str, list[float]] = {name: [] for name in race.contestants}
    for _ in range(repetitions):
        for name, contestant in race.contestants.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            contestant()
            times[name].append(1e3 * (time.perf_counter() - start) / race.work[name])
    rows = {}
    for name, own in times.items():
        rows[name] = {
            "milliseconds": spread(own).median,
            "times": own,
            **_ratio(own, times[race.peer]),
            "references": {other: _ratio(own, times[other]) for other in race.references},
            "peak_memory_mb": memory[name],
        }
    return {
        "case": race.case,
        "peer": race.peer,
        "contestants": rows,
        "absent": race.absent,
    }


def _ratio(own: list[float], others: list[float]) -> dict[str, Any]:
    ratio = quotient(own, others)
    return {"ratio": ratio.median, "ratio_quartiles": [ratio.low, ratio.high]}


def compare(name: str, races: Iterable[Race], repetitions: int, out: Path) -> Path:
    """Runs the races, prints a table and writes `out`/<name>-<device>.json, anew after each.

    Returns:
      The file's path.
    """
    begun = time.perf_counter()
    where = environment()
    for package in _PEERS.values():
        try:
            where["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            where["versions"][package] = None
    device = re.sub(r"[^a-z0-9]+", "-", device_name(where).lower()).strip("-")
    path = out / f"{name}-{device}.json"
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for race in races:
        say(f"{race.case}: {', '.join(race.contestants)}")
        for contestant, reason in race.absent.items():
            say(f"  without {contestant}: {reason}")
        results.append(run(race, repetitions))
        print(table(results[-1:]), flush=True)
        seconds = round(time.perf_counter() - begun)
        found = {"benchmark": name, "environment": where, "results": results, "seconds": seconds}
        write_json(path, found)
    print(f"\n{table(results)}\n\n{path}")
    return path


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line per contestant: time, ratio to the peer's and its quartiles, memory.

    A column each follows for the other contestants that the results give ratios to.
    """
    others = list(dict.fromkeys(name for result in results for name in _references(result)))
    rows = []
    for result in results:
        for name, row in result["contestants"].items():
            memory = row["peak_memory_mb"]
            rows.append(
                (
                    result["case"],
                    name,
                    number(row["milliseconds"]),
                    "peer" if name == result["peer"] else _with_quartiles(row),
                    "" if memory is None else f"{memory:.0f}",
                    *(_with_quartiles(row["references"].get(other)) for other in others),
                )
            )
    heads = ("case", "contestant", "ms", "time / peer's", "peak MB")
    return text_table((*heads, *(f"/ {other}'s" for other in others)), rows)


def _references(result: dict[str, Any]) -> Iterable[str]:
    return next(iter(result["contestants"].values()))["references"]


def _with_quartiles(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return str(Ratio(row["ratio"], *row["ratio_quartiles"]))


def _peak_memory(contestant: Contestant) -> float | None:
    """Growth of the process's memory during one call (MB), where the system tells; on GPU JAX's."""
    if jax.default_backend() != "cpu":
        contestant()
        stats = jax.devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use", 0) / 1e6 or None
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # gives back what is free
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        contestant()
        return max(0.0, _memory("VmHWM") - before)
    except OSError:
        return None


def _memory(entry: str) -> float:
    line = re.search(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if line is None:
        raise OSError(f"no {entry}")
    return int(line[1]) / 1e3
