"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log


@dataclasses.dataclass(frozen=True)
class Config:
    """Translate label maps into images by pix2pix, trained by Adam and by TRAdam."""

    preset: Literal["synthetic", "small", "paper"] = "synthetic"
    """synthetic: drawn facades, offline, five minutes; small: patches of retinal images and of
    electron micrographs, under an hour; paper: Cityscapes at the published settings, for a GPU."""
    data: tuple[str, ...] | None = None
    """Data sets instead of the preset's: "facades" are drawn; others need images of one size with
    a label map each."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default 3 in every preset."""
    epochs: int | None = None
    """Passes of the translation networks over the training pairs; by default as the preset says."""
    scorer_epochs: int | None = None
    """Passes of the scorers over the training pairs; by default as the preset says."""
    examples: int | None = None
    """Most training pairs; by default as the preset says."""
    test_examples: int | None = None
    """Most test pairs; by default as the preset says."""
    width: int | None = None
    """Channels after the first convolution of generator and discriminator; by default as the preset
    says."""
    learning_rate: float = 2e-4
    """Learning rate of Adam and TRAdam."""
    weight: float = 0.1
    """Weight λ of TRAdam's pull."""
    period: int = 10
    """Steps S between TRAdam's anchors."""
    l1_weight: float = 100.0
    """Weight of the distance to the real image in the generator's loss."""
    out: Path = Path("runs/image_translation")
    """Folder for report.html, results.json, curves.jsonl and image_translation.png."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""
    log: Log | None = None
    """Where training curves go besides curves.jsonl: "tensorboard" (needs tensorboardX) writes
    event files to <out>/tensorboard, "wandb" (needs wandb, its own settings apply) a project."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set, and the networks for it."""

    data: str
    size: int  # of the images that the networks see, pixels
    margin: int  # what random crops leave out
    shrink: int  # factor by which stored images are made smaller, whole or before patches are cut
    patches: bool  # whether patches are cut from the images, or whole images resized
    examples: int | None  # None: all
    test_examples: int | None
    epochs: int
    width: int
    levels: int  # of the generator
    layers: int  # of stride 2 in the discriminator
    scorer_width: int  # of FCN-8s; the U-Net has twice as many channels
    scorer_epochs: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    learning_rate: float
    weight: float
    period: int
    l1_weight: float
    tasks: tuple[Task, ...]


_SMALL = {"size": 64, "margin": 0, "width": 16, "levels": 4, "layers": 2, "scorer_width": 8}
_PRESETS: dict[str, tuple[tuple[str, ...], dict]] = {
    "synthetic": (
        ("facades",),
        {**_SMALL, "shrink": 1, "patches": False, "examples": 300, "test_examples": 60}
        | {"epochs": 4, "scorer_epochs": 10},
    ),
    "small": (
        ("drive", "isbi2012_em"),
        {**_SMALL, "shrink": 2, "patches": True, "examples": 300, "test_examples": 60}
        | {"epochs": 6, "scorer_epochs": 16},
    ),
    "paper": (
        ("cityscapes/semantic_segmentation",),
        {"size": 256, "margin": 30, "shrink": 1, "patches": False, "examples": None}
        | {"test_examples": None, "epochs": 200, "width": 64, "levels": 8, "layers": 3}
        | {"scorer_width": 32, "scorer_epochs": 50},
    ),
}
_SEEDS = 3


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    names, preset = _PRESETS[config.preset]
    given = {
        name: value
        for name in ("epochs", "scorer_epochs", "examples", "test_examples", "width")
        if (value := getattr(config, name)) is not None
    }
    return Plan(
        seeds=config.seeds or _SEEDS,
        learning_rate=config.learning_rate,
        weight=config.weight,
        period=config.period,
        l1_weight=config.l1_weight,
        tasks=tuple(Task(data=name, **(preset | given)) for name in config.data or names),
    )


def _check(config: Config) -> None:
    counts = (
        "seeds", "epochs", "scorer_epochs", "examples", "test_examples", "width", "period",
    )  # fmt: skip
    for name in counts:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if not config.learning_rate > 0:
        raise ValueError(f"--learning-rate must be positive, got {config.learning_rate}")
    for name in ("weight", "l1_weight"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"--{name.replace('_', '-')} must not be negative")
    if config.data is not None and not config.data:
        raise ValueError("--data must name a data set")
