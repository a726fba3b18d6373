"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import check_positive

Part = Literal["toy", "logistic", "networks"]
Network = Literal["FeedForward", "SmallCNN"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Count the vanishing component gradients at the solutions of SGD and Adam."""

    preset: Literal["digits", "small", "paper"] = "digits"
    """digits: offline, two minutes; small: MNIST and LIBSVM sets, under 50 minutes; paper: all."""
    only: tuple[Part, ...] = ("toy", "logistic", "networks")
    """Parts to run. With --resume the finished parts of the same run are kept."""
    data: tuple[str, ...] | None = None
    """Data sets instead of the preset's. Networks take those of images; logistic regression those
    of features with two classes, and images as even against odd classes."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    networks: tuple[Network, ...] = ("FeedForward", "SmallCNN")
    """Networks to train."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default 3 in every preset."""
    epochs: int | None = None
    """Passes over the training examples, of SGD and Adam alike; by default as the preset says."""
    examples: int | None = None
    """Most training examples of a network, drawn with a fixed seed; by default as the preset
    says."""
    subset: int | None = None
    """Training examples, drawn with a fixed seed, over which N is measured, at two gradients for
    each of them and each epoch; by default as the preset says."""
    batch_size: int = 32
    """Examples per step of Adam. SGD takes one."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    sgd_step: float = 0.1
    """Step size of SGD in the logistic regression, as a fraction of 1/L."""
    out: Path = Path("runs/vanishing_gradients")
    """Folder for report.html, results.json and vanishing_gradients.png."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class NetworkTask:
    """One network on one data set."""

    data: str
    network: Network
    examples: int | None  # None: all
    epochs: int
    subset: int
    batch_size: int
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    logistic: tuple[str, ...]
    sgd_epochs: int
    sgd_step: float
    networks: tuple[NetworkTask, ...]


@dataclasses.dataclass(frozen=True)
class _Budget:
    examples: int | None
    epochs: int
    subset: int


@dataclasses.dataclass(frozen=True)
class _Preset:
    logistic: tuple[str, ...]
    images: tuple[str, ...]
    budgets: dict[str, _Budget]


_LIBSVM = ("ijcnn1", "w8a", "a9a")
_PRESETS = {
    "digits": _Preset(
        logistic=("digits",),
        images=("digits",),
        budgets={"FeedForward": _Budget(None, 40, 512), "SmallCNN": _Budget(None, 20, 256)},
    ),
    "small": _Preset(
        logistic=_LIBSVM,
        images=("mnist",),
        budgets={"FeedForward": _Budget(None, 15, 4096), "SmallCNN": _Budget(12_000, 12, 1024)},
    ),
    "paper": _Preset(
        logistic=_LIBSVM,
        images=("mnist", "svhn_cropped", "cifar10"),
        budgets={"FeedForward": _Budget(None, 100, 8192), "SmallCNN": _Budget(None, 100, 8192)},
    ),
}
_SEEDS, _SGD_EPOCHS = 3, 100


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    for name in ("seeds", "epochs", "examples", "subset", "batch_size"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    check_positive(config, "learning_rate")
    if not 0 < config.sgd_step < 1:
        raise ValueError(f"--sgd-step must lie between 0 and 1, got {config.sgd_step}")
    preset = _PRESETS[config.preset]
    tasks = [
        NetworkTask(
            data=data,
            network=network,
            examples=config.examples or preset.budgets[network].examples,
            epochs=config.epochs or preset.budgets[network].epochs,
            subset=config.subset or preset.budgets[network].subset,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
        )
        for data in config.data or preset.images
        for network in config.networks
    ]
    return Plan(
        seeds=config.seeds or _SEEDS,
        logistic=config.data or preset.logistic,
        sgd_epochs=config.epochs or _SGD_EPOCHS,
        sgd_step=config.sgd_step,
        networks=tuple(tasks),
    )
