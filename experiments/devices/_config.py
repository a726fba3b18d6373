"""Options, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any, Literal

from .._common import check_at_least, check_positive

Piece = Literal["batch", "replicas", "grid", "noise", "windows"]
PIECES: tuple[Piece, ...] = ("batch", "replicas", "grid", "noise", "windows")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What the estimate assumes.

    The first five are those of a TPU v5e pod, as Google's page of 2025 gives them
    (docs.cloud.google.com/tpu/docs/v5e: 197 TFLOP/s in bfloat16, 16 GB and 819 GB/s of HBM, four
    ports of inter-chip interconnect with 400 GB/s in both directions together, which an older
    edition gives as 1600 Gbit/s). The others are assumptions.
    """

    chips: int = 256
    """Chips that share a batch."""
    peak_flops: float = 197e12
    """Most floating-point operations of a chip per second."""
    hbm_bytes: float = 16e9
    """Memory of a chip."""
    hbm_bandwidth: float = 819e9
    """Bytes that a chip reads from or writes to its memory per second."""
    link_bits: float = 1600e9
    """Bits that a chip sends to other chips per second, over all its links."""
    achieved: float = 0.4
    """Share of peak_flops that training reaches. A guess, not measured."""
    link_share: float = 0.25
    """Share of link_bits that the all-reduce uses: a plain ring has one of the four links."""
    images_per_chip: tuple[int, ...] = (1, 8, 32, 128)
    """Images of a chip in each step."""
    sizes: tuple[int, ...] = (32, 224)
    """Sides of the images, pixels."""
    images: int = 1_281_167
    """Images in the training set; the default is ImageNet's number."""
    classes: int = 1000
    """Of the images."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """In which the network computes; parameters and gradients are float32."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the same work on more and more devices, and estimate a paper-scale run."""

    preset: Literal["small", "large"] = "small"
    """Size of the work: small for two CPU cores, a second or two each; large for accelerators."""
    devices: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of devices; one is always measured, too."""
    rounds: int = 3
    """Timed runs of every piece, after one that compiles."""
    only: tuple[Piece, ...] | None = None
    """Pieces of work to run; by default all. With --resume the finished ones are kept."""
    distributed: bool = False
    """Join the other processes of a TPU pod slice or a SLURM, Open MPI or Kubernetes job."""
    cluster: Cluster = Cluster()
    """What the estimate assumes."""
    out: Path = Path("runs/devices")
    """Folder for report.html and results.json."""
    resume: bool = False
    """Go on with an interrupted run in the same folder; not with --distributed."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on but the number of devices and the piece."""

    preset: str
    rounds: int
    cluster: Cluster


def pieces_of(config: Config) -> tuple[Piece, ...]:
    return config.only or PIECES


def counts_of(config: Config) -> tuple[int, ...]:
    """The numbers of devices, rising, from one on."""
    return tuple(sorted({1, *config.devices}))


def cluster_options(cluster: Cluster) -> dict[str, Any]:
    """Assumptions by the names of their options, "cluster.chips" and so on."""
    return {f"cluster.{name}": value for name, value in vars(cluster).items()}


def plan_of(config: Config) -> Plan:
    """The options that matter.

    Raises:
      ValueError: if one is out of range.
    """
    check_at_least(config, 1, "devices", "rounds")
    assumed = types.SimpleNamespace(**cluster_options(config.cluster))
    for name in ("chips", "images_per_chip", "sizes", "images", "classes"):
        check_at_least(assumed, 1, f"cluster.{name}")
    for name in ("peak_flops", "hbm_bytes", "hbm_bandwidth", "link_bits", "achieved", "link_share"):
        check_positive(assumed, f"cluster.{name}")
    if config.distributed and config.resume:
        raise ValueError("--resume goes on with runs of one process: leave out --distributed")
    return Plan(config.preset, config.rounds, config.cluster)
