"""Whole networks, forward and a full training step, against PyTorch's.

Question: does a step inside the epoch program cost no more than the same step by itself, and than
          PyTorch's?
Command:  python -m experiments.benchmarks.models
Needs:    PyTorch (`pip install torch`).
Targets:  ResNet18 at batch 8 at most PyTorch's time, U-Nets at most 1.3 times, on CPU.

A training step is forward, backward and SGD with momentum in float32 on random data. "epoch
program" is the program that `jaxnoise.training.fit` runs, with the data on the device and the batch
gathered inside; "single steps" is the same program with one step an epoch.
"""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

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
import torch
from flax import nnx

import jaxnoise as jn
from experiments._common import main
from jaxnoise.training._epoch import run_epoch
from jaxnoise.training._players import Player
from jaxnoise.training._start import start

from . import _pytorch
from ._harness import RESULTS, Race, chosen, compare
from .reports.models import COMPILED, EPOCH, FORWARD, JITTED, PEER, SINGLE, TRAINING


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    compiled: bool = False
    """Let torch.compile run, too; it needs a C++ compiler."""
    out: Path = RESULTS
    """Folder of the results."""


@dataclass(frozen=True)
class Case:
    """A network of both libraries on batches of some shape."""

    name: str
    model: Callable[..., nnx.Module]
    twin: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]  # of a batch of images, channels last
    num_classes: int | None  # None: images are predicted from images
    steps: int  # in one call


def resnet(batch: int, steps: int) -> Case:
    shape = (batch, 32, 32, 3)
    name = f"ResNet18, batch {batch}"
    return Case(name, jn.models.ResNet18, _pytorch.ResNet18, shape, 10, steps)


def small_cnn(batch: int, steps: int) -> Case:
    options = {"in_channels": 1, "image_size": 28}
    return Case(
        f"SmallCNN 28², batch {batch}",
        functools.partial(jn.models.SmallCNN, **options),
        functools.partial(_pytorch.SmallCNN, **options),
        (batch, 28, 28, 1),
        10,
        steps,
    )


def unet(batch: int, size: int, ndim: int, width: int, levels: int, steps: int) -> Case:
    options = {"ndim": ndim, "width": width, "levels": levels}
    return Case(
        f"U-Net {ndim}-D width {width}, batch {batch} of {size}^{ndim}",
        functools.partial(jn.models.UNet, **options),
        functools.partial(_pytorch.UNet, **options),
        (batch, *(size,) * ndim, 1),
        None,
        steps,
    )


def nuclei(size: int, steps: int) -> Case:
    shape = (1, size, size, size, 1)
    name = f"NucleiUNet, batch 1 of {size}^3"
    return Case(name, jn.models.NucleiUNet, _pytorch.NucleiUNet, shape, None, steps)


CASES = [
    small_cnn(1, 50),
    small_cnn(8, 20),
    small_cnn(128, 2),
    resnet(1, 8),
    resnet(8, 4),
    resnet(128, 1),
    unet(1, 128, 2, 64, 4, 2),
    unet(8, 64, 2, 16, 4, 4),
    unet(1, 32, 3, 16, 3, 3),
    nuclei(64, 1),
]


def races(config: Config) -> Iterator[Race]:
    makers = {}
    for case in CASES:
        makers[f"{case.name}, {FORWARD}"] = functools.partial(forward, case, config.compiled)
        makers[f"{case.name}, {TRAINING}"] = functools.partial(training, case, config.compiled)
    for make in chosen(makers, config.only):
        yield make()


def forward(case: Case, compiled: bool) -> Race:
    model, twin = networks(case)
    model.eval()
    graphdef, state = nnx.split(model)
    predict = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))
    x, _, tx, _ = batches(case, 1)

    def ours() -> None:
        for _ in range(case.steps):
            jax.block_until_ready(predict(state, x))

    def peer(network: Any) -> Callable[[], None]:
        network.eval()

        def run() -> None:
            with torch.no_grad():
                for _ in range(case.steps):
                    network(tx)
            _wait(tx)

        return run

    contestants = {JITTED: ours, PEER: peer(twin)}
    if compiled:
        contestants[COMPILED] = peer(torch.compile(twin))
    work = dict.fromkeys(contestants, case.steps)
    return Race(f"{case.name}, {FORWARD}", contestants, work, PEER)


def training(case: Case, compiled: bool) -> Race:
    model, twin = networks(case)
    loss = jn.losses.cross_entropy if case.num_classes else squared_error
    params, model_state, train_loss = jn.models.split_train(model, loss)
    players = (Player(None, optax.sgd(0.01, momentum=0.9), None),)
    x, y, tx, ty = batches(case, case.steps)
    data = {"image": x, "label": y}
    one = jax.tree.map(lambda a: a[: case.shape[0]], data)

    def ours(data: Any, calls: int) -> Callable[[], None]:
        state, key = start(jax.random.key(0), players, params, model_state, None, {}, None, False)

        def run() -> None:
            nonlocal state
            for _ in range(calls):
                state, _ = run_epoch(
                    jax.tree_util.Partial(type(train_loss).metrics, train_loss),
                    None,
                    state,
                    data,
                    key,
                    {},
                    players=players,
                    batch_size=case.shape[0],
                    mode=None,
                )
                jax.block_until_ready(state.step)
            jax.block_until_ready(state)

        return run

    def peer(network: Any) -> Callable[[], None]:
        network.train()
        sgd = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
        batch = case.shape[0]

        def run() -> None:
            order = torch.randperm(len(tx), device=tx.device).split(batch)
            for indices in order:
                sgd.zero_grad()
                outputs, target = network(tx[indices]), ty[indices]
                if case.num_classes:
                    error = torch.nn.functional.cross_entropy(outputs, target)
                else:
                    error = torch.nn.functional.mse_loss(outputs, target)
                error.backward()
                sgd.step()
            _wait(tx)

        return run

    contestants = {
        EPOCH: ours(data, 1),
        SINGLE: ours(one, case.steps),
        PEER: peer(twin),
    }
    if compiled:
        contestants[COMPILED] = peer(torch.compile(twin))
    work = dict.fromkeys(contestants, case.steps)
    absent = {} if compiled else {COMPILED: "not measured: --compiled lets it run"}
    return Race(f"{case.name}, {TRAINING}", contestants, work, PEER, absent=absent)


def networks(case: Case) -> tuple[nnx.Module, torch.nn.Module]:
    """The network and its twin with the same weights."""
    model, twin = case.model(rngs=nnx.Rngs(0)), case.twin()
    _pytorch.copy_weights(model, twin)
    return model, twin.cuda() if jax.default_backend() == "gpu" else twin


def batches(case: Case, count: int):
    """Random inputs and targets of `count` batches, for JAX and for PyTorch."""
    rng = np.random.default_rng(0)
    shape = (count * case.shape[0], *case.shape[1:])
    x = rng.normal(size=shape).astype(np.float32)
    y = rng.integers(0, case.num_classes, len(x)) if case.num_classes else rng.random(shape)
    y = y.astype(np.int32 if case.num_classes else np.float32)
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), device=device)
    ty = torch.tensor(y.astype(np.int64) if case.num_classes else np.moveaxis(y, -1, 1).copy())
    return jnp.asarray(x), jnp.asarray(y), tx, ty.to(device)


def squared_error(outputs: jax.Array, batch: Any) -> jax.Array:
    """Mean squared error of each example."""
    return jnp.mean((outputs - batch["label"]) ** 2, axis=tuple(range(1, outputs.ndim)))


def _wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def benchmark(config: Config) -> None:
    compare("models", races(config), config.repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
