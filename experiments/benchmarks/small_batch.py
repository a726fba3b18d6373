"""What small batches cost: the regularized update, and several seeds in one program.

Question: does TRSGD's update cost little over SGD's, and do replicas train faster than one by one?
Command:  python -m experiments.benchmarks.small_batch
Targets:  the update at most 1.5 times that of `optax.sgd(momentum=0.9)` on CPU; on a GPU at most
          1.25 times the memory floor, and 8 replicas of ResNet18 twice the examples per second.

An update is the transformation's and `optax.apply_updates`, jitted together, parameters and state
donated, on the parameters of ResNet18 and SmallCNN with fixed gradients. The memory floor
reads and writes, in one array, as many bytes as parameters, gradients, momentum and anchor to read
and the first and the last two to write.
Replicas are 8 seeds at batch size 8, a unit of work a step of one of them: in separate calls of
`jaxnoise.training.fit`, in one program one after another, and side by side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxnoise as jn
from experiments._common import Starts, main, replica, starts_of

from ._harness import RESULTS, Race, chosen, compare
from .reports.small_batch import (
    ADAM,
    BATCH_SIZE,
    FLOOR,
    MAPPED,
    SEPARATE,
    SGD,
    TRADAM,
    TRSGD,
    UPDATE,
    VMAPPED,
)

RATE = 1e-4


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 7
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    replicas: int = 8
    """Seeds trained at once."""
    out: Path = RESULTS
    """Folder of the results."""


NETWORKS = {
    "FeedForward 8²": ("FeedForward", (8, 8, 1), 2000),
    "FeedForward 28²": ("FeedForward", (28, 28, 1), 400),
    "SmallCNN 28²": ("SmallCNN", (28, 28, 1), 20),
    "ResNet18 32²": ("ResNet18", (32, 32, 3), 2),
}  # name → network, image, steps in one call
MODELS = {
    "ResNet18": lambda: jn.models.ResNet18(rngs=nnx.Rngs(0)),
    "SmallCNN 28²": lambda: jn.models.SmallCNN(in_channels=1, image_size=28, rngs=nnx.Rngs(0)),
}


def races(config: Config) -> Iterator[Race]:
    makers: dict[str, Callable[[], Race]] = {}
    for name in MODELS:
        makers[f"{UPDATE}, {name}"] = functools.partial(updates, name)
    for name in NETWORKS:
        makers[f"replicas, {name}"] = functools.partial(replicas, name, config.replicas)
    for make in chosen(makers, config.only):
        yield make()


def updates(name: str) -> Race:
    params, _ = jn.models.split(MODELS[name](), jn.losses.cross_entropy)
    gradients = jax.tree.map(lambda p: 1e-3 * jnp.ones_like(p), params)
    optimizers = {
        SGD: optax.sgd(0.01, momentum=0.9),
        TRSGD: jn.transforms.trsgd(0.01, 0.9),
        ADAM: optax.adam(0.01),
        TRADAM: jn.transforms.tradam(0.01),
    }
    contestants = {who: updating(tx, params, gradients) for who, tx in optimizers.items()}
    contestants[FLOOR] = floor(params)
    work = dict.fromkeys(contestants, 10)
    return Race(f"{UPDATE}, {name}", contestants, work, SGD, (ADAM, FLOOR))


def updating(
    optimizer: optax.GradientTransformation, params: Any, gradients: Any
) -> Callable[[], None]:
    def one(carry: Any, gradients: Any) -> Any:
        params, state = carry
        changes, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, changes), state

    return repeated(jax.jit(one, donate_argnums=0), (params, optimizer.init(params)), gradients)


def floor(params: Any) -> Callable[[], None]:
    """Reads and writes as many bytes in one array as four trees read and three written."""
    numbers = 7 * sum(p.size for p in jax.tree.leaves(params)) // 2
    return repeated(jax.jit(lambda x, _: x + 1, donate_argnums=0), jnp.zeros(numbers), None)


def repeated(program: Callable, carry: Any, gradients: Any) -> Callable[[], None]:
    carry = jax.tree.map(jnp.array, carry)

    def run() -> None:
        nonlocal carry
        for _ in range(10):
            carry = program(carry, gradients)
        jax.block_until_ready(carry)

    return run


def replicas(name: str, count: int) -> Race:
    starts, data = seeds(name, count)
    contestants = {
        SEPARATE: separate(starts, data, count),
        MAPPED: together(starts, data, count, "map"),
        VMAPPED: together(starts, data, count, "vmap"),
    }
    work = dict.fromkeys(contestants, NETWORKS[name][-1] * count)
    return Race(f"{count} replicas, {name}, batch {BATCH_SIZE}", contestants, work, SEPARATE)


def seeds(name: str, count: int) -> tuple[Starts, Any]:
    """Where as many seeds start from, and the data that they share."""
    network, shape, steps = NETWORKS[name]
    rng = np.random.default_rng(0)
    num = BATCH_SIZE * steps
    data = {
        "image": jnp.asarray(rng.integers(0, 256, (num, *shape)).astype(np.uint8)),
        "label": jnp.asarray(rng.integers(0, 10, num).astype(np.int32)),
    }
    return starts_of(network, data, data, count), data


def separate(starts: Starts, data: Any, count: int) -> Callable[[], None]:
    optimizer = jn.transforms.trsgd(RATE)

    def run() -> None:
        for index in range(count):
            params, model_state = replica((starts.params, starts.model_state), index)
            fitted = jn.training.fit(
                starts.keys[index],
                starts.train_loss,
                params,
                model_state,
                optimizer,
                data,
                jn.schedules.NoiseStage(1, RATE, BATCH_SIZE),
                progress=False,
            )
            jax.block_until_ready(fitted.params)

    return run


def together(starts: Starts, data: Any, count: int, mode: Any) -> Callable[[], None]:
    optimizer = jn.transforms.trsgd(RATE)

    def run() -> None:
        fitted = jn.training.fit(
            starts.keys,
            starts.train_loss,
            starts.params,
            starts.model_state,
            optimizer,
            data,
            jn.schedules.NoiseStage(1, RATE, BATCH_SIZE),
            replicas=count,
            replica_mode=mode,
            stacked=True,
            progress=False,
        )
        jax.block_until_ready(fitted.params)

    return run


def benchmark(config: Config) -> None:
    compare("small_batch", races(config), config.repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
