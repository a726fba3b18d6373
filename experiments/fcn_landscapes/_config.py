"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log
from ._networks import MAIN, NETWORKS

KINDS = {
    "membranes": "membranes",
    "isbi2012_em": "membranes",
    "vessels": "vessels",
    "drive": "vessels",
    "raindrops": "raindrops",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Train networks with few and many skips, and measure how flat their landscapes are."""

    preset: Literal["synthetic", "small", "paper"] = "synthetic"
    """synthetic: drawn membranes and three networks, offline; small: patches of real
    images, each data set under an hour; paper: the published sizes, for a GPU."""
    data: (
        tuple[Literal["membranes", "isbi2012_em", "vessels", "drive", "raindrops"], ...] | None
    ) = None
    """Data sets instead of the preset's. The landscapes are those of the first; of the others only
    how well they are learnt is compared."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    flatness: bool = True
    """Compare flatness and batch sizes, too; otherwise only how well the networks learn."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default as the preset says."""
    epochs: int | None = None
    """Passes over the training patches; by default as the preset says."""
    examples: int | None = None
    """Most training patches; by default as the preset says."""
    width: int | None = None
    """Channels at full resolution; by default as the preset says."""
    learning_rate: float | None = None
    """Learning rate of SGD; by default as the preset says: 0.2, or the paper's 0.025. At reduced
    width and few epochs 0.025 leaves the networks with few skips at a constant output."""
    momentum: float = 0.8
    """Momentum of SGD."""
    batch_size: int = 16
    """Patches per step."""
    small_batch_size: int = 2
    """Patches per step of the trainings that this is compared with."""
    target_loss: float | None = None
    """Training loss at which networks are compared, where all reach it; by default, for each seed,
    the lowest that all reach."""
    resolution: int | None = None
    """Points along each side of a landscape; by default as the preset says."""
    out: Path = Path("runs/fcn_landscapes")
    """Folder for report.html, results.json, curves.jsonl and the pictures."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""
    log: Log | None = None
    """Where training curves go besides curves.jsonl: "tensorboard" (needs tensorboardX) writes
    event files to <out>/tensorboard, "wandb" (needs wandb, its own settings apply) a project."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set, and what is done with it."""

    data: str
    networks: tuple[str, ...]
    landscapes: bool  # whether sharpness, landscapes and batch sizes are studied, too
    shrink: int  # factor by which stored images are made smaller
    size: int  # of a patch, pixels
    overlap: int  # of neighbouring patches
    images: tuple[int, int, int]  # drawn for training, validation and test
    image_size: int  # of those
    examples: int | None  # training patches; None: all
    epochs: int
    width: int

    @property
    def kind(self) -> str:
        return KINDS[self.data]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    learning_rate: float
    momentum: float
    batch_size: int
    small_batch_size: int
    target_loss: float | None
    snapshots: int  # of a training, at most; between them lies the point of equal loss
    epsilons: tuple[float, ...]  # of C_ε between networks
    batch_epsilons: tuple[float, ...]  # of C_ε between batch sizes
    guard_epsilon: float  # of the sharpness of Keskar et al.
    radius: float  # of landscapes between networks
    batch_radius: float  # of landscapes between batch sizes
    resolution: int
    draws: int  # of directions, for the rise
    draw_resolution: int
    probe: int  # training patches that sharpness and landscapes are taken over
    tasks: tuple[Task, ...]


_PRESETS: dict[str, dict] = {
    "synthetic": {
        "data": ("membranes",),
        "networks": ("FCN-8s", "FCN-4s", "U-Net"),  # FCN-16s learns nothing in so few steps
        "seeds": 2,
        "learning_rate": 0.2,
        "snapshots": 10,
        "resolution": 13,
        "draws": 2,
        "draw_resolution": 7,
        "probe": 4,
        "task": {"shrink": 1, "size": 64, "overlap": 0, "images": (48, 8, 8), "image_size": 128}
        | {"examples": 128, "epochs": 12, "width": 4},
    },
    "small": {
        "data": ("isbi2012_em",),
        "seeds": 3,
        "learning_rate": 0.2,
        "snapshots": 8,
        "resolution": 21,
        "draws": 3,
        "draw_resolution": 5,
        "of": {"drive": {"shrink": 2}},
        "task": {"shrink": 1, "size": 96, "overlap": 0, "images": (40, 10, 20)}
        | {"image_size": 256, "examples": 224, "epochs": 15, "width": 8},
    },
    "paper": {
        "data": ("isbi2012_em", "drive", "raindrops"),
        "of": {
            "drive": {"shrink": 2},  # to 292 × 283; the paper resizes to 256 × 256
            "raindrops": {"images": (770, 110, 220), "image_size": 256},
        },
        "seeds": 5,
        "learning_rate": 0.025,
        "snapshots": 20,
        "resolution": 40,
        "draws": 5,
        "draw_resolution": 15,
        "task": {"shrink": 1, "size": 256, "overlap": 128, "images": (120, 20, 60)}
        | {"image_size": 512, "examples": None, "epochs": 60, "width": 64},
    },
}


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    preset = _PRESETS[config.preset]
    given = {
        name: value
        for name in ("epochs", "examples", "width")
        if (value := getattr(config, name)) is not None
    }
    networks = preset.get("networks", tuple(NETWORKS))
    tasks = tuple(
        Task(
            data=name,
            networks=networks if first and config.flatness else MAIN,
            landscapes=first and config.flatness,
            **(preset["task"] | preset.get("of", {}).get(name, {}) | given),
        )
        for name, first in zip(config.data or preset["data"], [True] + [False] * 9, strict=False)
    )
    return Plan(
        seeds=config.seeds or preset["seeds"],
        learning_rate=config.learning_rate or preset["learning_rate"],
        momentum=config.momentum,
        batch_size=config.batch_size,
        small_batch_size=config.small_batch_size,
        target_loss=config.target_loss,
        snapshots=preset["snapshots"],
        epsilons=(0.01, 0.02, 0.1, 0.2),
        batch_epsilons=(0.01, 0.02),
        guard_epsilon=1e-3,
        radius=0.5,
        batch_radius=0.025,
        resolution=config.resolution or preset["resolution"],
        draws=preset["draws"],
        draw_resolution=preset["draw_resolution"],
        probe=preset.get("probe", 8),
        tasks=tasks,
    )


def _check(config: Config) -> None:
    counts = ("seeds", "epochs", "examples", "width", "batch_size", "small_batch_size")
    for name in counts:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if config.resolution is not None and config.resolution < 2:
        raise ValueError(f"--resolution must be at least 2, got {config.resolution}")
    if config.learning_rate is not None and not config.learning_rate > 0:
        raise ValueError(f"--learning-rate must be positive, got {config.learning_rate}")
    if not 0 <= config.momentum < 1:
        raise ValueError(f"--momentum must be in [0, 1), got {config.momentum}")
    if config.small_batch_size == config.batch_size:
        raise ValueError("--small-batch-size must differ from --batch-size")
    if config.target_loss is not None and not config.target_loss > 0:
        raise ValueError(f"--target-loss must be positive, got {config.target_loss}")
    if config.data is not None and len(set(config.data)) != max(1, len(config.data)):
        raise ValueError("--data must name data sets, each once")
