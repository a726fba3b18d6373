"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log, check_at_least, check_positive
from ._problems import CASES

Part = Literal["smoothing", "schedules", "nice", "descent"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Count the starts that reach the global minimum by descent, SGD and graduated descent."""

    preset: Literal["toy", "full"] = "toy"
    """toy: over all seeds 10,000 starts in 1 and 2 dimensions, 2,500 in 10, 250 in 100; full:
    10,000 in 10, too, and 1,000 in 100."""
    only: tuple[Part, ...] = ("smoothing", "schedules", "nice", "descent")
    """Parts to run. With --resume the finished parts of the same run are kept."""
    functions: tuple[str, ...] | None = None
    """Functions to descend on; by default all."""
    dimensions: tuple[int, ...] | None = None
    """Numbers of dimensions; each function takes those that suit it. By default 1, 2, 10, 100."""
    seeds: int | None = None
    """Number of repetitions, each with its own starts and shifts; by default 5."""
    starts: int = 2000
    """Starts of each seed, uniform in the function's domain."""
    numbers: int | None = None
    """Most coordinates that the starts of a seed have together, so that there are fewer starts in
    many dimensions; by default as the preset says."""
    powers: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0)
    """Powers p of the polynomial decays."""
    stages: int = 8
    """Stages M of smoothing, or of noise."""
    steps: int = 16
    """Steps of graduated descent in each stage."""
    samples: int = 16
    """Gradients in each of these steps."""
    rates: tuple[float, ...] = (0.015625, 0.0625, 0.25, 1.0, 4.0)
    """Factors c of the step c/L to choose from."""
    fractions: tuple[float, ...] = (1.0, 0.25, 0.0625, 0.015625, 0.00390625)
    """First degrees of smoothing to choose from, in units of one that spreads each coordinate of a
    point by a quarter of the domain's width."""
    a: float = 2.0
    """a > 1 of the admissible region of decay rates, at θ = 0."""
    log: Log | None = None
    """Where the curves by stage go besides `<out>/curves.jsonl`."""
    out: Path = Path("runs/graduated_toy")
    """Folder for report.html, results.json, curves.jsonl and the pictures."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    functions: tuple[str, ...]
    dimensions: tuple[int, ...]
    seeds: int
    starts: int
    numbers: int
    powers: tuple[float, ...]
    stages: int
    steps: int
    samples: int
    rates: tuple[float, ...]
    fractions: tuple[float, ...]
    a: float

    def starts_in(self, dimension: int) -> int:
        """Starts of each seed in so many dimensions."""
        return max(1, min(self.starts, self.numbers // dimension))

    @property
    def finish(self) -> int:
        """Steps on the function itself that every method ends with."""
        return self.stages * self.steps

    def gradients(self, samples: int) -> int:
        """Gradients for each start, where a step before the end takes so many."""
        return self.finish * (samples + 1)


_NUMBERS = {"toy": 5_000, "full": 20_000}
_SEEDS, _DIMENSIONS = 5, (1, 2, 10, 100)


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    return Plan(
        functions=config.functions or tuple(CASES),
        dimensions=config.dimensions or _DIMENSIONS,
        seeds=config.seeds or _SEEDS,
        starts=config.starts,
        numbers=config.numbers or _NUMBERS[config.preset],
        powers=config.powers,
        stages=config.stages,
        steps=config.steps,
        samples=config.samples,
        rates=config.rates,
        fractions=config.fractions,
        a=config.a,
    )


def _check(config: Config) -> None:
    check_at_least(
        config, 1, "seeds", "starts", "numbers", "stages", "steps", "samples", "dimensions"
    )
    check_positive(config, "powers", "rates", "fractions")
    if not config.a > 1:
        raise ValueError(f"--a must be above 1, got {config.a}")
    if unknown := sorted(set(config.functions or ()) - set(CASES)):
        known = ", ".join(CASES)
        raise ValueError(f"--functions must be some of {known}, got {', '.join(unknown)}")
