"""The loss on a grid around the parameters, against forward passes alone and PyTorch's ways.

Question: what does a point cost beside a forward pass of the same data, and beside each peer's?
Command:  python -m experiments.benchmarks.landscape
Needs:    PyTorch and loss-landscapes (`pip install -e ".[peers]"`). Landscaper's libraries ask for
          NumPy 1 but run with 2: `pip install --no-deps landscaper topopy nglpy gudhi treelib
          coloraide drawsvg pandas`. A peer that can't be imported is named in the results.
Targets:  at most 1.15 times as many forward passes as there are points; every peer 1.3 times
          slower on CPU, twice on GPU.

All have the same weights, directions and data in float32, all data at once. Before a race starts
they must agree on a small grid (see `check`). "forward passes" are of the same jitted loss at the
parameters themselves, called one by one or in a compiled loop, whichever is faster. How each peer
takes its grid stands in `_landscape_peers`. Times are per point; "growth" lets `loss_grid` run on
grids of which each has four times the points: neither time per point nor peak memory should grow.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional as F

import jaxnoise as jn
from experiments._common import main

from . import _landscape_peers, _pytorch
from ._harness import RESULTS, Race, chosen, compare, not_installed
from .models import Case, batches, networks, squared_error
from .reports.landscape import FLOOR, GROWTH, OURS, PEERS

CLASSES = dict(
    zip(
        PEERS,
        (_landscape_peers.Loop, _landscape_peers.Landscaper, _landscape_peers.LossLandscapes),
        strict=True,
    )
)
RADIUS = 0.02  # of directions whose entries are about one

_CHECKED = 5  # points a side; an odd number, with which all have the same points


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    resolution: int | None = None
    """Points a side; None takes as many as let each contestant take seconds."""
    quick: bool = False
    """Two examples and 4×4 points, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


_IMAGES = {"in_channels": 1, "image_size": 28}

# Steps are the points a side.
CASES = [
    Case(
        "FeedForward 784-256-256-10",
        functools.partial(jn.models.FeedForward, **_IMAGES),
        _pytorch.FeedForward,
        (128, 28, 28, 1),
        num_classes=10,
        steps=40,
    ),
    Case(
        "SmallCNN 28²",
        functools.partial(jn.models.SmallCNN, **_IMAGES),
        functools.partial(_pytorch.SmallCNN, **_IMAGES),
        (128, 28, 28, 1),
        num_classes=10,
        steps=8,
    ),
    Case(
        "U-Net width 8, 128²",
        functools.partial(jn.models.UNet, width=8),
        functools.partial(_pytorch.UNet, width=8),
        (8, 128, 128, 1),
        num_classes=None,
        steps=8,
    ),
]


def races(config: Config) -> Iterator[Race]:
    makers = {}
    for case in CASES:
        if config.quick:
            case = dataclasses.replace(case, shape=(2, *case.shape[1:]), steps=4)
        if config.resolution:
            case = dataclasses.replace(case, steps=config.resolution)
        makers[f"{case.name}, {GROWTH}"] = functools.partial(growth, case)
        makers[f"{case.name}, peers"] = functools.partial(race, case)
    for make in chosen(makers, config.only):
        yield make()


def growth(case: Case) -> Race:
    """Grids of more and more points."""
    ours = Ours(case, networks(case)[0])
    sides = sorted({max(2, case.steps // part) for part in (4, 2, 1)})
    contestants = {f"{n}×{n}": functools.partial(ours.grid, RADIUS, n) for n in sides}
    work = {f"{n}×{n}": n**2 for n in sides}
    return Race(f"{case.name}, {GROWTH}", contestants, work, next(iter(work)))


def race(case: Case) -> Race:
    """Ours and the peers' ways to a grid, beside the forward passes alone."""
    model, twin = networks(case)
    ours = Ours(case, model)
    *_, tx, ty = batches(case, 1)
    u, v = (tensors(ours.model, twin, d) for d in ours.directions)
    loss = F.cross_entropy if case.num_classes else F.mse_loss
    grids: dict[str, Callable] = {OURS: ours.grid}
    absent = {}
    for name, peer in CLASSES.items():
        try:
            grids[name] = peer(twin, (u, v), tx, ty, loss).grid
        except ImportError as error:
            absent[name] = not_installed(error)
    check(case, {name: grid(RADIUS, _CHECKED) for name, grid in grids.items()})
    floor, passes = ours.floor(case.steps**2)
    contestants = {
        floor: passes,
        **{name: functools.partial(grid, RADIUS, case.steps) for name, grid in grids.items()},
    }
    return Race(
        f"{case.name}, {case.shape[0]} examples, {case.steps}×{case.steps} points",
        contestants,
        dict.fromkeys(contestants, case.steps**2),
        floor,
        (OURS,),
        absent,
    )


class Ours:
    """`jaxnoise.landscape.loss_grid`, and the loss alone.

    The part of each parameter in a direction has the norm √(number of weights), as Landscaper has
    it; biases stay fixed.
    """

    def __init__(self, case: Case, model: nnx.Module):
        x, y, *_ = batches(case, 1)
        self.model, self.data = model, {"image": x, "label": y}
        loss = jn.losses.cross_entropy if case.num_classes else squared_error
        self.params, self.loss_fn = jn.models.split(model, loss)
        units = jn.landscape.random_directions(
            jax.random.key(0), self.params, normalization="layer_unit"
        )
        self.directions = jax.tree.map(lambda d: math.sqrt(d.size) * d, units)

    def grid(self, radius: float, resolution: int) -> np.ndarray:
        return jn.landscape.loss_grid(
            self.loss_fn,
            self.params,
            self.directions,
            self.data,
            radius=radius,
            resolution=resolution,
            chunk_size=len(self.data["image"]),
        ).values

    def floor(self, count: int) -> tuple[str, Callable[[], Any]]:
        """That many forward passes, called or in a loop, whichever is faster now, and its name."""
        inputs = (self.loss_fn, self.params, self.data)
        zeros = jnp.zeros(count)

        def called() -> None:
            losses = [mean_loss(*inputs) for _ in range(count)]
            jax.block_until_ready(losses)

        def looped() -> None:
            jax.block_until_ready(mean_losses(*inputs, zeros))

        ways = {f"{FLOOR}, called": called, f"{FLOOR}, looped": looped}
        for way in ways.values():
            way()
        name = min(ways, key=lambda name: min(_seconds(ways[name]) for _ in range(2)))
        return name, ways[name]


@jax.jit
def mean_loss(loss_fn: Callable, params: Any, data: Any) -> jax.Array:
    return jnp.mean(loss_fn(params, data))


@jax.jit
def mean_losses(loss_fn: Callable, params: Any, data: Any, zeros: jax.Array) -> jax.Array:
    """The same loss for every zero, of which the compiler can't know that they are zeros."""

    def one(zero: jax.Array) -> jax.Array:
        return mean_loss(loss_fn, params, data | {"image": data["image"] + zero})

    return jax.lax.map(one, zeros)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def tensors(model: nnx.Module, twin: torch.nn.Module, direction: Any) -> list[torch.Tensor]:
    """A direction in the order and the layout of the twin's parameters."""
    holder = copy.deepcopy(twin)
    _pytorch.copy_weights(jn.models.merge(model, direction), holder)
    return [parameter.detach() for parameter in holder.parameters()]


def check(case: Case, grids: dict[str, np.ndarray]) -> None:
    """Raises unless all agree to 0.01 % at the points that they have."""
    first, *others = grids
    for other in others:
        has = np.isfinite(grids[other])
        if not has.any() or not np.allclose(grids[other][has], grids[first][has], rtol=1e-4):
            raise ValueError(f"{case.name}: {other} and {first} disagree on the losses")


def benchmark(config: Config) -> None:
    torch.backends.cudnn.allow_tf32 = False  # JAX is asked the same below
    with jax.default_matmul_precision("float32"):
        repetitions = 1 if config.quick else config.repetitions
        compare("landscape", races(config), repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
