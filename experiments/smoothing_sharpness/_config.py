"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from .._common import Log, check_at_least, check_positive

Network = Literal["FeedForward", "SmallCNN", "ResNet18"]
ReplicaMode = Literal["auto", "map", "vmap"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Sharpness and test accuracy against batch size, learning rate and degree of smoothing."""

    preset: Literal["digits", "small", "paper"] = "digits"
    """digits: offline, in five minutes; small: a subset of MNIST, or of the set that --data names,
    under an hour; paper: the published settings, for a GPU."""
    data: str | None = None
    """Data set of images with class labels, instead of the preset's."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    network: Network | None = None
    """Network to train, instead of the preset's."""
    learning_rates: tuple[float, ...] = (0.01, 0.05, 0.1, 0.5)
    """Learning rates η, constant through training."""
    batch_sizes: tuple[int, ...] | None = None
    """Batch sizes b; by default the powers of two from 2 to 8192. Those beyond the number of
    training examples are left out."""
    seeds: int = 3
    """Number of runs at each η and b; 3 means the seeds 0, 1, 2."""
    epochs: int | None = None
    """Passes over the training examples, the same for all runs; by default as the preset says."""
    examples: int | None = None
    """Most training examples, drawn with a fixed seed; by default as the preset says."""
    test_examples: int | None = None
    """Most test examples, drawn with a fixed seed; by default as the preset says."""
    reached: float = 0.95
    """Training accuracy from which on a run counts as one that has learnt its training set."""
    rho: float = 2e-4
    """Radius ρ of the worst-case sharpness."""
    sharpness_batches: int = 8
    """Most batches of 128 training examples that the sharpness is a mean over."""
    noise_gradients: int = 2**17
    """Gradients of single examples over which the size of ω is measured, for each batch size."""
    epsilon: float = 0.5
    """The critical batch size is that which first brings the running mean of the gradient's norm
    below this."""
    replica_mode: ReplicaMode = "map"
    """How the runs of one batch size go in one program: one after another ("map"), side by side
    ("vmap"), or the faster of the two ("auto"), which suits accelerators."""
    log: Log | None = None
    """Where the training curves go besides `<out>/curves.jsonl`."""
    out: Path = Path("runs/smoothing_sharpness")
    """Folder for report.html, results.json, curves.jsonl, smoothing_sharpness.png and noise.png."""
    resume: bool = False
    """Go on with an interrupted run in the same folder."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    data: str
    network: Network
    learning_rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    seeds: int
    epochs: int
    examples: int | None  # None: all
    test_examples: int | None
    augment: bool
    rho: float
    sharpness_batches: int
    noise_gradients: int
    replica_mode: ReplicaMode

    @property
    def probe_batch_size(self) -> int:
        """That of the run along which the noise is looked at; it is small, but not the smallest."""
        return self.batch_sizes[len(self.batch_sizes) // 4]

    @property
    def probe_learning_rate(self) -> float:
        """That of the run along which the noise is looked at."""
        return self.learning_rates[min(1, len(self.learning_rates) - 1)]


@dataclasses.dataclass(frozen=True)
class _Preset:
    data: str
    network: Network
    epochs: int
    examples: int | None
    test_examples: int | None
    augment: bool = False


_PRESETS = {
    "digits": _Preset("digits", "FeedForward", 30, None, None),
    "small": _Preset("mnist", "FeedForward", 20, 4000, 4000),
    "paper": _Preset("cifar100", "ResNet18", 200, None, None, augment=True),
}
_BATCH_SIZES = tuple(2**k for k in range(1, 14))


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    preset = _PRESETS[config.preset]
    return Plan(
        data=config.data or preset.data,
        network=config.network or preset.network,
        learning_rates=tuple(sorted(set(config.learning_rates))),
        batch_sizes=tuple(sorted(set(config.batch_sizes or _BATCH_SIZES))),
        seeds=config.seeds,
        epochs=config.epochs or preset.epochs,
        examples=config.examples or preset.examples,
        test_examples=config.test_examples or preset.test_examples,
        augment=preset.augment,
        rho=config.rho,
        sharpness_batches=config.sharpness_batches,
        noise_gradients=config.noise_gradients,
        replica_mode=config.replica_mode,
    )


def fitting(plan: Plan, num_examples: int) -> Plan:
    """The plan without the batch sizes beyond the number of training examples.

    Raises:
      ValueError: if none is left.
    """
    sizes = tuple(size for size in plan.batch_sizes if size <= num_examples)
    if not sizes:
        raise ValueError(
            f"--batch-sizes: {min(plan.batch_sizes)}, the smallest, exceeds the {num_examples} "
            "training examples"
        )
    return dataclasses.replace(plan, batch_sizes=sizes)


def _check(config: Config) -> None:
    check_at_least(
        config, 1, "seeds", "epochs", "examples", "test_examples", "batch_sizes",
        "sharpness_batches", "noise_gradients",
    )  # fmt: skip
    check_positive(config, "learning_rates", "rho", "epsilon")
    if not 0 <= config.reached <= 1:
        raise ValueError(f"--reached must be in [0, 1], got {config.reached}")
