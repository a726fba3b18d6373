"""What the benchmarks measured, read back from their files, and ratios of it."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]  # of one race, as `_harness.run` gives it


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of a quotient, and its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


@dataclass(frozen=True)
class Claim:
    """The time of ours over another's in one case, and what it should be at most.

    Without a target nothing is promised on that kind of device. Where there is no ratio, `note`
    says why; beside one it says more of the other.
    """

    case: str
    over: str
    ratio: Ratio | None
    cpu: float | None = None
    gpu: float | None = None
    note: str = ""

    def verdict(self, platform: str) -> str:
        """The ratio, whether it reaches the device's target, and the note."""
        target = self.cpu if platform == "cpu" else self.gpu
        text = cell(self.ratio)
        if self.ratio and target is not None:
            text += ", reached" if self.ratio.median <= target else ", missed"
        return "; ".join(part for part in (text, self.note) if part)


@dataclass(frozen=True)
class Table:
    """Rows of cells that are text, ratios or None, with a line above them."""

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    caption: str = ""

    def markdown(self) -> str:
        head, *rows = (
            "| " + " | ".join(map(cell, line)) + " |" for line in (self.header, *self.rows)
        )
        table = "\n".join([head, "|" + "---|" * len(self.header), *rows])
        return f"{self.caption}\n\n{table}" if self.caption else table


@dataclass(frozen=True)
class Measured:
    """One file: a benchmark on a device."""

    path: Path
    benchmark: str
    environment: dict[str, Any]
    results: list[Result]
    seconds: float | None

    @property
    def device(self) -> str:
        return device_name(self.environment)

    @property
    def platform(self) -> str:
        return _kind_and_platform(self.environment)[1]


def load(folder: Path) -> list[Measured]:
    """All files of a folder, by name."""
    measured = []
    for path in sorted(folder.glob("*.json")):
        read = json.loads(path.read_text(encoding="utf-8"))
        read.setdefault("seconds", None)
        measured.append(Measured(path, **read))
    return measured


def device_name(environment: dict[str, Any]) -> str:
    """The processor, or the accelerator's name."""
    kind, platform = _kind_and_platform(environment)
    return environment["processor"] if platform == "cpu" else kind


def _kind_and_platform(environment: dict[str, Any]) -> tuple[str, str]:
    found = re.fullmatch(r"\d+ × (.*) \((\w+)\)", environment["device"])
    if found is None:
        raise ValueError(f"no kind and platform in the device {environment['device']!r}")
    return found[1], found[2]


def quotient(own: Sequence[float], others: Sequence[float]) -> Ratio:
    """Of times in the same rounds."""
    ratios = [a / b for a, b in zip(own, others, strict=True)]
    return spread(ratios)


def spread(values: Sequence[float]) -> Ratio:
    """Median and quartiles of a value per round."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return Ratio(statistics.median(values), low, high)


def over(result: Result | None, own: str, other: str) -> Ratio | None:
    """A contestant's time over another's; None where one of them has none."""
    times = [times_of(result, name) for name in (own, other)]
    return quotient(*times) if all(times) else None


def fastest(result: Result, own: str, others: Sequence[str]) -> tuple[str, Ratio] | None:
    """That of the others that takes the least time, and ours over its."""
    there = [name for name in others if times_of(result, name)]
    if not there:
        return None
    best = min(there, key=lambda name: statistics.median(times_of(result, name)))
    return best, quotient(times_of(result, own), times_of(result, best))


def times_of(result: Result | None, name: str) -> list[float]:
    """Milliseconds per unit of work, a number per round; none where it took no part."""
    return (result or {}).get("contestants", {}).get(name, {}).get("times", [])


def milliseconds(result: Result | None, name: str) -> str:
    """The median per unit of work."""
    times = times_of(result, name)
    return number(statistics.median(times)) if times else ""


def megabytes(result: Result, name: str) -> str:
    """A call's peak memory."""
    memory = result["contestants"][name]["peak_memory_mb"]
    return "" if memory is None else f"{memory:.0f}"


def number(value: float) -> str:
    """To about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def cell(value: Any) -> str:
    """The text of a table's cell."""
    return "" if value is None else str(value)


def by_kind(results: Sequence[Result]) -> dict[str, dict[str, Result]]:
    """Results by what stands before the last comma of the case, and by what stands after."""
    rows: dict[str, dict[str, Result]] = {}
    for result in results:
        subject, _, kind = result["case"].rpartition(", ")
        rows.setdefault(subject, {})[kind] = result
    return rows
