"""How cost grows: the profile of the noise, the grid of losses and replicas, larger and larger.

Question: does time grow as the work does, and does memory stay?
Command:  python -m experiments.benchmarks.growth
Target:   time ∝ size^x with x at most 1.1, in everything.

`FeedForward` on images of 28² everywhere. A case's sizes are examples, weights, points, or seeds
that `jaxnoise.training.fit` trains side by side; what takes little time at small sizes makes x less
than one. Data go in chunks of 128 examples, so that the peak memory of a profile or a grid should
not grow with examples or points; with weights and replicas it has to. A picture of both over the
size is written beside the results.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxnoise as jn
from experiments._common import main, save_picture

from . import small_batch
from ._harness import RESULTS, Contestant, Race, chosen, compare
from .reports.growth import draw

CHUNK = 128


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    quick: bool = False
    """The two smallest sizes, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


def races(config: Config) -> Iterator[Race]:
    makers = {
        "noise_profile, examples": profile_of_examples,
        "noise_profile, weights": profile_of_weights,
        "loss_grid, points": grid_of_points,
        "loss_grid, examples": grid_of_examples,
        "fit, replicas side by side": fit_of_replicas,
    }
    named = {name: (name, make) for name, make in makers.items()}
    for name, make in chosen(named, config.only):
        contestants = make(range(2 if config.quick else 4))
        first = next(iter(contestants))
        yield Race(name, contestants, dict.fromkeys(contestants, 1), first)


def profile_of_examples(doublings: range) -> dict[str, Contestant]:
    return {str(n): functools.partial(profile, *task(n)) for n in (512 * 2**k for k in doublings)}


def profile_of_weights(doublings: range) -> dict[str, Contestant]:
    contestants = {}
    for k in doublings:
        loss_fn, params, data = task(512, width=64 * 2**k)
        size = sum(p.size for p in jax.tree.leaves(params))
        contestants[str(size)] = functools.partial(profile, loss_fn, params, data)
    return contestants


def grid_of_points(doublings: range) -> dict[str, Contestant]:
    sides = (4 * 2**k for k in doublings)
    return {str(side**2): functools.partial(grid, *task(CHUNK), side) for side in sides}


def grid_of_examples(doublings: range) -> dict[str, Contestant]:
    return {str(n): functools.partial(grid, *task(n), 8) for n in (CHUNK * 2**k for k in doublings)}


def fit_of_replicas(doublings: range) -> dict[str, Contestant]:
    contestants = {}
    for count in (2**k for k in doublings):
        starts, data = small_batch.seeds("FeedForward 28²", count)
        contestants[str(count)] = small_batch.together(starts, data, count, "vmap")
    return contestants


def task(num_examples: int, width: int = 256) -> tuple[Callable, Any, Any]:
    """(loss, parameters, data)."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(num_examples, 28, 28, 1)).astype(np.float32)
    label = rng.integers(0, 10, num_examples)
    model = jn.models.FeedForward(in_channels=1, image_size=28, width=width, rngs=nnx.Rngs(0))
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    return loss_fn, params, {"image": jnp.asarray(image), "label": jnp.asarray(label)}


def profile(loss_fn: Callable, params: Any, data: Any) -> None:
    jax.block_until_ready(jn.gradients.noise_profile(loss_fn, params, data, chunk_size=CHUNK))


def grid(loss_fn: Callable, params: Any, data: Any, side: int) -> None:
    directions = jn.landscape.random_directions(jax.random.key(0), params)
    jn.landscape.loss_grid(loss_fn, params, directions, data, resolution=side, chunk_size=CHUNK)


def benchmark(config: Config) -> None:
    path = compare("growth", races(config), 1 if config.quick else config.repetitions, config.out)
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    save_picture(path.with_suffix(".png"), draw(results))


if __name__ == "__main__":
    main(benchmark, Config)
