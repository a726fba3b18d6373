"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from jaxnoise.schedules import NoiseStage

from .._common import Log, check_at_least, check_positive, is_cifar, pairs_of

Family = Literal["sgd", "adam"]
Network = Literal["FeedForward", "SmallCNN", "ResNet18", "ResNet101", "DenseNet121"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare TRSGD and TRAdam with their base optimizers, their parts and lower learning rates."""

    preset: Literal["digits", "small", "paper"] = "digits"
    """digits: offline, in three minutes; small: a subset of MNIST, or of the set that --data names,
    under an hour; paper: the published settings, for a GPU."""
    only: tuple[Family, ...] = ("sgd", "adam")
    """Optimizers to run. With --resume the finished runs of the same settings are kept."""
    data: tuple[str, ...] | None = None
    """Data sets of images with class labels, instead of the preset's."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    network: tuple[Network, ...] | None = None
    """Networks to train on each data set, instead of the preset's."""
    batch_sizes: tuple[int, ...] = (8,)
    """Examples per step."""
    periods: tuple[int, ...] = (10,)
    """Steps S between anchors."""
    weight: float = 0.1
    """Weight λ of the pull."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default 5."""
    epochs: int | None = None
    """Passes over the training examples: half of them at the first learning rate, a quarter at a
    tenth of it, a quarter at a hundredth; by default as the preset says."""
    examples: int | None = None
    """Most training examples, drawn with a fixed seed; by default as the preset says."""
    test_examples: int | None = None
    """Most test examples, drawn with a fixed seed; by default as the preset says."""
    learning_rate: float | None = None
    """First learning rate of SGD; by default 0.1 for networks with normalisation, and what
    the others bear."""
    adam_learning_rate: float = 1e-3
    """First learning rate of Adam."""
    grid: tuple[float, ...] | None = None
    """Learning rates to choose the best from, in units of the optimizer's own; by default 0.1, 0.3,
    1, 3, 10, for the preset digits without the first."""
    weight_decay: float = 1e-4
    """Coefficient ρ of ρw, added to the gradient."""
    noise_examples: int | None = None
    """Training examples, drawn with a fixed seed, over which tr Σ is measured after every epoch; 0
    leaves it out; by default as the preset says."""
    option_two: bool = False
    """Also test one of the anchors, drawn at random (the algorithm's option II)."""
    replica_mode: Literal["auto", "map", "vmap"] = "map"
    """How the seeds run in one program: one after another ("map"), the same to the bit each time;
    side by side ("vmap"), or the faster of the two ("auto"), which suits accelerators."""
    log: Log | None = None
    """Where the training curves go besides `<out>/curves.jsonl`."""
    out: Path = Path("runs/small_batch")
    """Folder for report.html, results.json, curves.jsonl and small_batch.png."""
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
    noise_examples: int
    learning_rates: dict[Family, float]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    batch_sizes: tuple[int, ...]
    periods: tuple[int, ...]
    weight: float
    weight_decay: float
    grid: tuple[float, ...]
    option_two: bool
    replica_mode: Literal["auto", "map", "vmap"]
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True)
class _Preset:
    pairs: tuple[tuple[str, Network], ...]  # data, network
    seeds: int
    epochs: int
    examples: int | None
    test_examples: int | None
    noise_examples: int
    grid: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)


_PRESETS = {
    "digits": _Preset((("digits", "FeedForward"),), 5, 12, None, None, 256, (0.3, 1, 3, 10)),
    "small": _Preset((("mnist", "FeedForward"),), 5, 10, 4000, 4000, 256),
    "paper": _Preset((("cifar10", "ResNet18"),), 5, 200, None, None, 2048),
}
_DROP = 0.1


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    preset = _PRESETS[config.preset]
    noise = config.noise_examples
    tasks = [
        Task(
            data=data,
            network=network,
            examples=config.examples or preset.examples,
            test_examples=config.test_examples or preset.test_examples,
            epochs=config.epochs or preset.epochs,
            noise_examples=preset.noise_examples if noise is None else noise,
            learning_rates={
                "sgd": config.learning_rate or default_rate(data, network),
                "adam": config.adam_learning_rate,
            },
        )
        for data, network in pairs_of(config.data, config.network, preset.pairs)
    ]
    return Plan(
        seeds=config.seeds or preset.seeds,
        batch_sizes=config.batch_sizes,
        periods=config.periods,
        weight=config.weight,
        weight_decay=config.weight_decay,
        grid=config.grid or preset.grid,
        option_two=config.option_two,
        replica_mode=config.replica_mode,
        tasks=tuple(tasks),
    )


def default_rate(data: str, network: str) -> float:
    """A learning rate of SGD with momentum at which it works at batch size 8."""
    if network not in ("FeedForward", "SmallCNN"):
        return 0.1
    if is_cifar(data):
        return 0.003
    return 0.03 if network == "FeedForward" else 0.01


def _check(config: Config) -> None:
    names = ("seeds", "epochs", "examples", "test_examples", "batch_sizes", "periods")
    check_at_least(config, 1, *names)
    check_positive(config, "learning_rate", "adam_learning_rate", "grid")
    check_at_least(config, 0, "weight", "weight_decay")
    if config.noise_examples is not None and (
        config.noise_examples < 0 or config.noise_examples == 1
    ):
        raise ValueError("--noise-examples must be 0 or at least 2: one example has no variance")


def stages_of(epochs: int, batch_size: int) -> list[NoiseStage]:
    """Half of the epochs at the learning rate, a quarter at a tenth, the rest at a hundredth.

    The learning rates are relative to the first.
    """
    first = -(-epochs // 2)
    second = -(-(epochs - first) // 2)
    lengths = (first, second, epochs - first - second)
    return [
        NoiseStage(length, _DROP**number, batch_size)
        for number, length in enumerate(lengths)
        if length
    ]
