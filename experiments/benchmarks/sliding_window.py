"""A network applied to a volume by windows, against MONAI's inferer and the loop it is made of.

Question: what does `volumes.sliding_window` cost beside the network alone, and beside MONAI?
Command:  python -m experiments.benchmarks.sliding_window
Needs:    PyTorch, and MONAI (`pip install torch monai`); without MONAI the results say so.
Targets:  at most MONAI's time on CPU, two thirds of it on GPU.

NucleiUNet with the same weights in float32, windows of 64³ voxels at stride 32, four at once, over
a volume of bytes. MONAI and the loop get it padded by the 16 voxels that `sliding_window` adds, so
that all have the same windows to work on; they average windows where these overlap. Before a race
starts the outputs must agree: the loop's with MONAI's, and with ours where it counts the middle of
each window alone. Times are per window. "windows alone" is the compiled network on as many batches
of windows, none cut from a volume or put into one. "growth" is over deeper and deeper volumes that
stay on the host: neither time per window nor memory beyond the result's should grow.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from jax.tree_util import Partial
from torch.nn import functional as F

import jaxnoise as jn
from experiments._common import main

from . import _pytorch
from ._harness import RESULTS, Race, chosen, compare, not_installed
from .reports.sliding_window import ALONE, DEVICE, GROWTH, HOST, LOOP, MONAI

WINDOW, STRIDE, BATCH = 64, 32, 4
MARGIN = (WINDOW - STRIDE) // 2
SIZES = {"cpu": 96, "gpu": 256}


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    size: int = SIZES[jax.default_backend()]
    """Side of the volume, voxels."""
    width: int = 8
    """Channels of the network at full resolution."""
    out: Path = RESULTS
    """Folder of the results."""


def races(config: Config) -> Iterator[Race]:
    for make in chosen({"race": race, GROWTH: growth}, config.only):
        yield make(config)


def race(config: Config) -> Race:
    """Ours, from the host and on the device, the loop and MONAI."""
    apply, twin = networks(config.width)
    volume = some_volume((config.size,) * 3)
    held = jnp.asarray(volume)
    windows = jnp.zeros((BATCH, *[WINDOW] * 3), jnp.float32)
    num = num_windows(volume.shape)

    def alone() -> None:
        jax.block_until_ready([_apply(apply, windows) for _ in range(math.ceil(num / BATCH))])

    contestants: dict[str, Callable] = {
        HOST: functools.partial(ours, apply, volume),
        DEVICE: lambda: jax.block_until_ready(ours(apply, held)),
        ALONE: alone,
        LOOP: functools.partial(loop, twin, volume),
    }
    absent = {}
    try:
        contestants[MONAI] = monai_inferer(twin, volume)
    except ImportError as error:
        absent[MONAI] = not_installed(error)
    check(apply, twin, volume, contestants)
    return Race(
        f"NucleiUNet width {config.width}, {config.size}³, {num} windows",
        contestants,
        dict.fromkeys(contestants, num),
        MONAI if MONAI in contestants else LOOP,
        (ALONE,),
        absent,
    )


def growth(config: Config) -> Race:
    """Volumes of the same slices, each twice as deep as the one before."""
    apply, _ = networks(config.width)
    side = min(config.size, 2 * STRIDE)
    volumes = {f"{depth}×{side}²": some_volume((depth, side, side)) for depth in (64, 128, 256)}
    contestants = {name: functools.partial(ours, apply, v) for name, v in volumes.items()}
    work = {name: num_windows(volume.shape) for name, volume in volumes.items()}
    case = f"NucleiUNet width {config.width}, {GROWTH}"
    return Race(case, contestants, work, next(iter(work)))


def networks(width: int) -> tuple[Partial, torch.nn.Module]:
    """The network as a function of windows, and its twin with the same weights."""
    model, twin = (
        jn.models.NucleiUNet(width=width, rngs=nnx.Rngs(0)),
        _pytorch.NucleiUNet(width=width),
    )
    _pytorch.copy_weights(model, twin)
    model.eval()
    graphdef, state = nnx.split(model)

    def predict(state: nnx.State, windows: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(windows[..., None] / 255)[..., 0]

    return Partial(predict, state), twin.eval().to(_device())


def some_volume(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def num_windows(shape: tuple[int, ...]) -> int:
    return math.prod(math.ceil(length / STRIDE) for length in shape)


def ours(apply: Partial, volume: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    return jn.volumes.sliding_window(apply, volume, WINDOW, STRIDE, batch_size=BATCH)


@jax.jit
def _apply(apply: Partial, windows: jax.Array) -> jax.Array:
    return apply(windows)


@torch.no_grad()
def loop(
    network: torch.nn.Module, volume: np.ndarray, weight: torch.Tensor | None = None
) -> np.ndarray:
    """Cuts windows out batch by batch, adds up what comes out, and divides by how often."""
    padded = _padded(volume)
    weight = torch.ones([WINDOW] * 3, device=padded.device) if weight is None else weight
    total, count = torch.zeros_like(padded), torch.zeros_like(padded)
    starts = [range(0, length - WINDOW + 1, STRIDE) for length in padded.shape]
    corners = list(itertools.product(*starts))
    for first in range(0, len(corners), BATCH):
        places = [
            tuple(slice(start, start + WINDOW) for start in corner)
            for corner in corners[first : first + BATCH]
        ]
        windows = torch.stack([padded[place] for place in places])
        for place, output in zip(places, network(windows[:, None])[:, 0], strict=True):
            total[place] += weight * output
            count[place] += weight
    inside = _inside(volume)
    return (total[inside] / count[inside]).cpu().numpy()


def monai_inferer(network: torch.nn.Module, volume: np.ndarray) -> Callable[[], np.ndarray]:
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(WINDOW, BATCH, overlap=1 - STRIDE / WINDOW, mode="constant")

    @torch.no_grad()
    def infer() -> np.ndarray:
        output = inferer(_padded(volume)[None, None], network)
        return output[0, 0][_inside(volume)].cpu().numpy()

    return infer


def check(
    apply: Partial, twin: torch.nn.Module, volume: np.ndarray, contestants: dict[str, Callable]
) -> None:
    """Refuses to time contestants that give different volumes."""
    middle = torch.zeros([WINDOW] * 3, device=_device())
    middle[(slice(MARGIN, MARGIN + STRIDE),) * 3] = 1
    pairs = {"jaxnoise": (ours(apply, volume), loop(twin, volume, middle))}
    if MONAI in contestants:
        pairs[MONAI] = contestants[MONAI](), contestants[LOOP]()
    for name, (found, expected) in pairs.items():
        largest = np.abs(found - expected).max()
        if not largest < 1e-3:
            raise ValueError(f"{name} and the loop disagree by {largest:.2g}: compare none of them")


def _padded(volume: np.ndarray) -> torch.Tensor:
    """The volume between 0 and 1 with zeros around it, ends at a multiple of the stride first."""
    numbers = torch.from_numpy(volume).to(_device()).float() / 255
    ends = [(MARGIN, MARGIN + -length % STRIDE) for length in reversed(volume.shape)]
    return F.pad(numbers, [width for pair in ends for width in pair])


def _inside(volume: np.ndarray) -> tuple[slice, ...]:
    """Where the volume lies in the padded one."""
    return tuple(slice(MARGIN, MARGIN + length) for length in volume.shape)


def _device() -> str:
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def benchmark(config: Config) -> None:
    compare("sliding_window", races(config), config.repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
