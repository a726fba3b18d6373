"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log

Part = Literal["regression", "logistic", "network", "resnet"]
_PARTS: tuple[Part, ...] = ("regression", "logistic", "network")


@dataclasses.dataclass(frozen=True)
class Config:
    """Run SGD beside the bounds on it: convex and not, by step size and batch size."""

    preset: Literal["small", "full"] = "small"
    """small: under three minutes; full: five times the steps, twice the seeds, and ResNet18, under
    an hour."""
    only: tuple[Part, ...] | None = None
    """Parts to run; by default all, ResNet18 with --preset full. With --resume the finished parts
    of the same run are kept."""
    data: str = "digits"
    """Data set of logistic regression and networks: "digits" (offline), a folder or file in
    --data-dir, or a TFDS name. Logistic regression takes images as even against odd classes."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    examples: int = 1000
    """Most training examples of logistic regression and networks, drawn with a fixed seed."""
    seeds: int | None = None
    """Runs of each setting, in the regression; by default as the preset says. The others take as
    many, but no more than 16, 4 and 3."""
    steps: int | None = None
    """Steps K of the regression and half those of the others; by default as the preset says."""
    batch_sizes: tuple[int, ...] = (1, 4, 16, 64)
    """Examples in each stochastic gradient; the first is that of the comparison of step sizes."""
    epochs: int = 2
    """Passes over the data of ResNet18 at its smallest batch size; all take as many steps."""
    log: Log | None = None
    """Where ResNet18's curves go besides `<out>/curves.jsonl`."""
    out: Path = Path("runs/sgd_rates")
    """Folder for report.html, results.json, curves.jsonl and sgd_rates.png."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    data: str
    examples: int
    seeds: int
    steps: int
    batch_sizes: tuple[int, ...]
    epochs: int


_STEPS = {"small": 4_000, "full": 20_000}
_SEEDS = {"small": 64, "full": 128}


def parts_of(config: Config) -> tuple[Part, ...]:
    return config.only or (_PARTS if config.preset == "small" else (*_PARTS, "resnet"))


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    for name in ("examples", "seeds", "steps", "epochs"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    batches = config.batch_sizes
    if not batches or min(batches) < 1 or list(batches) != sorted(set(batches)):
        raise ValueError(f"--batch-sizes must rise from at least 1, got {batches}")
    steps = config.steps or _STEPS[config.preset]
    if steps < 2:
        raise ValueError(f"--steps must be at least 2, got {steps}")
    return Plan(
        data=config.data,
        examples=config.examples,
        seeds=config.seeds or _SEEDS[config.preset],
        steps=steps,
        batch_sizes=batches,
        epochs=config.epochs,
    )
