"""Options, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import check_at_least

Job = Literal["stages", "replicas", "stream", "gan", "grid", "noise_profile", "parts"]
_JOBS: tuple[Job, ...] = ("stages", "replicas", "stream", "gan", "grid", "noise_profile", "parts")


@dataclasses.dataclass(frozen=True)
class Config:
    """Kill small jobs at random moments, and compare what they leave with undisturbed ones."""

    kills: int = 10
    """Kills of each job."""
    seed: int = 0
    """Of the moments."""
    only: tuple[Job, ...] | None = None
    """Jobs to run; by default all. With --resume the finished ones of the same run are kept."""
    out: Path = Path("runs/kills")
    """Folder for report.html and results.json, and what differing runs left."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    kills: int
    seed: int


def jobs_of(config: Config) -> tuple[Job, ...]:
    return config.only or _JOBS


def plan_of(config: Config) -> Plan:
    """The options that matter.

    Raises:
      ValueError: if one is out of range.
    """
    check_at_least(config, 1, "kills")
    check_at_least(config, 0, "seed")
    return Plan(config.kills, config.seed)
