"""Options, presets, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro

from .._common import Log, check_at_least, check_positive
from ._variants import VARIANTS

Step = Literal[
    "synthesize", "train-gan", "generate", "train-unet", "segment", "evaluate", "all"
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Segment nuclei in 3-D microscopy by networks trained on synthetic volumes alone."""

    step: tyro.conf.Positional[Step]
    """What to do; all: every step, one after another."""
    preset: Literal["toy", "small", "kidney", "paper"] = "toy"
    """toy: drawn microscopy, offline, six minutes; small: mouse embryos with ground truth
    (BBBC050), under an hour; kidney: slices of rat kidney, GANs of few channels; paper: the same at
    the published settings, for a GPU."""
    data: str | None = None
    """The microscope's volumes instead of the preset's: "microscope" (drawn), the name of a set in
    --data-dir ("bbbc050", "kidney_wsm"), or a path: a stack (.tif, .npz, folder of .png), or a
    folder of stacks image_….tif, with label_….tif beside them where there is ground truth."""
    data_dir: Path | None = None
    """Folder of the data; by default the environment variable JAXNOISE_DATA_DIR."""
    radii: tuple[float, ...] | None = None
    """Radii that nuclei have, in the unit of --voxel; semi-axes of ellipsoids are drawn from them.
    By default those of the data set; 4 and 5 where it is none of ours."""
    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Depth, height and width of a voxel, such as micrometres; height and width must be equal."""
    num_nuclei: int | None = None
    """Nuclei in a synthetic volume; by default as many as fill a tenth of it."""
    shrink: int | None = None
    """Work on voxels averaged in cubes of this side; masks are enlarged again before scoring."""
    volumes: int | None = None
    """Number of synthetic volumes; the variant with few has a twentieth of them."""
    variants: tuple[str, ...] | None = None
    """What to train and compare, of base, cyclegan, rendered, truth, dice, bce, encoder_decoder,
    few; by default all that the data allow."""
    seeds: int | None = None
    """Number of runs; 3 means the seeds 0, 1, 2. By default 3 in every preset."""
    gan_ndim: Literal[2, 3] | None = None
    """2: the GANs see slices, as the paper's do; 3: blocks. By default 2."""
    gan_epochs: int | None = None
    """Passes of the GANs over their data; by default as the preset says."""
    epochs: int | None = None
    """Passes of the segmenting networks over the synthetic volumes, a block of each volume per
    pass; by default as the preset says."""
    width: int | None = None
    """Channels of the segmenting networks at full resolution; by default as the preset says."""
    block: int | None = None
    """Side of the blocks they are trained on and applied to; by default as the preset says."""
    min_size: int = 100
    """Components of fewer voxels are removed."""
    out: Path = Path("runs/nuclei3d")
    """Folder for what the steps write, report.html, results.json and curves.jsonl."""
    resume: bool = False
    """Keep what is finished, and go on with an interrupted step."""
    log: Log | None = None
    """Where training curves go besides curves.jsonl: "tensorboard" or "wandb"."""


@dataclasses.dataclass(frozen=True)
class VolumesPlan:
    """The microscope's volumes, and the synthetic ones."""

    data: str
    shrink: int
    shape: tuple[int, int, int]  # of a synthetic volume, shrunk voxels
    num: int  # synthetic volumes
    few: int  # of them, for the variant with few
    radii: tuple[float, ...]
    voxel: tuple[float, float, float]
    num_nuclei: int | None
    num_train: int  # of the microscope's, for the GAN; not all sets have more than one
    num_test: int  # of the microscope's, to be segmented


@dataclasses.dataclass(frozen=True)
class GanPlan:
    """SpCycleGAN and CycleGAN."""

    epochs: int  # passes over the microscope's slices or volumes
    crop: int  # side of the windows that are trained on, voxels
    width: int  # channels of all networks at full resolution
    blocks: int  # residual blocks of a generator
    layers: int  # convolutions of stride 2 of a discriminator
    ndim: int = 2  # 2 slice by slice, 3 by blocks
    learning_rate: float = 2e-4
    pool: int = 50  # earlier images that discriminators are shown
    identity_weight: float | None = None  # of a term that keeps bright nuclei bright


@dataclasses.dataclass(frozen=True)
class UnetPlan:
    """The networks that segment, and what is done with their output."""

    block: int
    width: int
    epochs: int
    learning_rate: float
    variants: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the numbers depend on."""

    seeds: int
    min_size: int
    volumes: VolumesPlan
    gan: GanPlan
    unet: UnetPlan


_SEEDS = 3
_RADII = {"bbbc050": (6, 7, 8, 9, 10, 11)}  # voxels; others have the paper's
_PAPERS_RADII = (4, 5)

_VOLUMES: dict[str, dict[str, Any]] = {
    "toy": {"data": "microscope", "shrink": 1, "shape": (48, 48, 48), "num": 20}
    | {"num_train": 4, "num_test": 3},
    "small": {"data": "bbbc050", "shrink": 2, "shape": (32, 70, 70), "num": 40}
    | {"num_train": 33, "num_test": 12},
    "kidney": {"data": "kidney_wsm", "shrink": 1, "shape": (64, 128, 128), "num": 8}
    | {"num_train": 1, "num_test": 1},
    "paper": {"data": "kidney_wsm", "shrink": 1, "shape": (128, 128, 128), "num": 200}
    | {"num_train": 100, "num_test": 100},
}
_SMALL_GAN = {"crop": 32, "width": 8, "blocks": 2, "layers": 2, "identity_weight": 5.0}
_GAN: dict[str, dict[str, Any]] = {
    "toy": {"epochs": 5, **_SMALL_GAN, "learning_rate": 1e-3},
    "small": {"epochs": 1, **_SMALL_GAN, "learning_rate": 5e-4},
    "kidney": {"epochs": 4, **_SMALL_GAN, "crop": 64, "blocks": 3, "learning_rate": 5e-4},
    "paper": {"epochs": 200, "crop": 128, "width": 64, "blocks": 9, "layers": 3},
}
_UNET: dict[str, dict[str, Any]] = {
    "toy": {"block": 32, "width": 4, "epochs": 6, "learning_rate": 3e-3},
    "small": {"block": 32, "width": 8, "epochs": 6, "learning_rate": 2e-3},
    "kidney": {"block": 32, "width": 4, "epochs": 30, "learning_rate": 2e-3},
    "paper": {"block": 64, "width": 8, "epochs": 200, "learning_rate": 1e-3},
}


def plan_of(config: Config) -> Plan:
    """The preset with the other options put over it.

    Raises:
      ValueError: if an option is out of range.
    """
    _check(config)
    volumes = _VOLUMES[config.preset] | _given(config, data="data", shrink="shrink", num="volumes")
    radii = config.radii or _RADII.get(volumes["data"], _PAPERS_RADII)
    return Plan(
        seeds=config.seeds or _SEEDS,
        min_size=config.min_size,
        volumes=VolumesPlan(
            **volumes,
            few=max(1, volumes["num"] // 20),
            radii=tuple(map(float, radii)),
            voxel=config.voxel,
            num_nuclei=config.num_nuclei,
        ),
        gan=GanPlan(**_GAN[config.preset] | _given(config, epochs="gan_epochs", ndim="gan_ndim")),
        unet=UnetPlan(
            **_UNET[config.preset] | _given(config, epochs="epochs", width="width", block="block"),
            variants=tuple(config.variants or VARIANTS),
        ),
    )


def _given(config: Config, **options: str) -> dict[str, Any]:
    """Fields of a plan by the names of the options that are given."""
    values = {field: getattr(config, option) for field, option in options.items()}
    return {field: value for field, value in values.items() if value is not None}


def _check(config: Config) -> None:
    check_at_least(
        config, 1, "num_nuclei", "shrink", "volumes", "seeds", "gan_epochs", "epochs", "width",
        "block", "min_size",
    )  # fmt: skip
    check_positive(config, "radii", "voxel")
    if config.block is not None and config.block % 16:
        raise ValueError(f"--block must be a multiple of 16, got {config.block}")
    if config.voxel[1] != config.voxel[2]:
        raise ValueError(f"--voxel: height and width must be equal, got {config.voxel}")
    if unknown := sorted(set(config.variants or ()) - set(VARIANTS)):
        raise ValueError(f"--variants must be of {', '.join(VARIANTS)}, got {', '.join(unknown)}")
    if config.variants == ():
        raise ValueError("--variants must name one at least")
