"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log, check_at_least, check_positive, pairs_of

Part = Literal["methods", "schedules"]
Network = Literal["FeedForward", "SmallCNN", "ResNet18", "ResNet34", "WideResNet"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare schedules of the gradient noise: stages of learning rate and batch size, fixed or by
    measurement, and learning rates that change by epoch."""

    preset: Literal["digits", "small", "paper"] = "digits"
    """digits: offline, in five minutes; small: a subset of MNIST, or of the set that --data names,
    under an hour; paper: the published settings, for a GPU, which with --data imagenet are those of
    ResNet34 on ImageNet, as TFDS has prepared it in --data-dir as array_record."""
    only: tuple[Part, ...] = ("methods", "schedules")
    """Comparisons to run. With --resume the finished runs of the same settings are kept."""
    data: tuple[str, ...] | None = None
    """Data sets of images with class labels, instead of the preset's."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    network: tuple[Network, ...] | None = None
    """Networks to train on each data set, instead of the preset's."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default 5."""
    epochs: int | None = None
    """Passes over the training examples, shared out evenly among the stages; by default as the
    preset says."""
    stages: int = 5
    """Number of stages."""
    decay: float = 2**-0.5
    """Factor by which the degree of smoothing falls from stage to stage."""
    learning_rate: float = 0.1
    """Learning rate that all begin with."""
    batch_size: int = 128
    """Examples per step of the methods 1 and 2, and of the schedules by epoch."""
    grow_from: int | None = None
    """Batch size that method 3 grows from; in the comparison from equal δ that of all methods. By
    default 16, for --preset paper --data imagenet 32."""
    hybrid_from: int = 32
    """Batch size that the methods 4 and 5 begin with."""
    max_learning_rate: float | None = None
    """Limit of the learning rate in method 5; by default three times the first one."""
    min_batch_size: int = 4
    """Limit of the batch size in method 5, below which an epoch takes long."""
    examples: int | None = None
    """Most training examples, drawn with a fixed seed; by default as the preset says."""
    test_examples: int | None = None
    """Most test examples, drawn with a fixed seed; by default as the preset says."""
    probe_examples: int | None = None
    """Training examples, drawn with a fixed seed, over which C is measured; by default as the
    preset says."""
    replica_mode: Literal["auto", "map", "vmap"] = "map"
    """How replicas run in one program: one after another ("map"), the same to the bit each time;
    side by side ("vmap"), or the faster of the two ("auto"), which suits accelerators."""
    log: Log | None = None
    """Where the training curves go besides `<out>/curves.jsonl`."""
    out: Path = Path("runs/noise_schedules")
    """Folder for report.html, results.json, curves.jsonl and the pictures."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One network on one data set."""

    data: str
    network: Network
    examples: int | None  # None: all
    test_examples: int | None
    epochs: int
    probe_examples: int

    @property
    def name(self) -> str:
        return f"{self.network}, {self.data}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    stages: int
    decay: float
    learning_rate: float
    batch_size: int
    grow_from: int
    hybrid_from: int
    max_learning_rate: float
    min_batch_size: int
    replica_mode: Literal["auto", "map", "vmap"]
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True)
class _Preset:
    pairs: tuple[tuple[str, Network], ...]  # data, network
    epochs: int
    examples: int | None
    test_examples: int | None
    probe_examples: int
    grow_from: int = 16


_PRESETS = {
    "digits": _Preset((("digits", "FeedForward"),), 100, None, None, 512),
    "small": _Preset((("mnist", "FeedForward"),), 50, 4000, 4000, 512),
    "paper": _Preset((("cifar100", "ResNet18"), ("cifar100", "WideResNet")), 200, None, None, 2048),
}
_IMAGENET = _Preset((("imagenet", "ResNet34"),), 200, None, None, 2048, grow_from=32)
_SEEDS = 5
_HIGHEST = 3.0  # learning rate of method 5, in units of the first one


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    of_imagenet = config.preset == "paper" and config.data == ("imagenet",)
    preset = _IMAGENET if of_imagenet else _PRESETS[config.preset]
    epochs = config.epochs or preset.epochs
    if epochs % config.stages:
        raise ValueError(
            f"--epochs must be a multiple of the number of stages, {config.stages}, got {epochs}"
        )
    tasks = [
        Task(
            data=data,
            network=network,
            examples=config.examples or preset.examples,
            test_examples=config.test_examples or preset.test_examples,
            epochs=epochs,
            probe_examples=config.probe_examples or preset.probe_examples,
        )
        for data, network in pairs_of(config.data, config.network, preset.pairs)
    ]
    return Plan(
        seeds=config.seeds or _SEEDS,
        stages=config.stages,
        decay=config.decay,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        grow_from=config.grow_from or preset.grow_from,
        hybrid_from=config.hybrid_from,
        max_learning_rate=config.max_learning_rate or _HIGHEST * config.learning_rate,
        min_batch_size=config.min_batch_size,
        replica_mode=config.replica_mode,
        tasks=tuple(tasks),
    )


def file_name(*parts: str) -> str:
    return "_".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def _check(config: Config) -> None:
    check_at_least(
        config, 1, "seeds", "epochs", "stages", "batch_size", "grow_from", "hybrid_from",
        "min_batch_size", "examples", "test_examples",
    )  # fmt: skip
    check_at_least(config, 2, "probe_examples")
    check_positive(config, "learning_rate", "max_learning_rate")
    if not 0 < config.decay < 1:
        raise ValueError(f"--decay must be above 0 and below 1, got {config.decay}")
