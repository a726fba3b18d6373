"""The noise of the gradient over a data set, against PyTorch's libraries for per-example gradients.

Question: what do the norms of all component gradients, these with the mean gradient, and the whole
          noise profile cost, in plain gradients of the same data and against each peer?
Command:  python -m experiments.benchmarks.gradient_noise
Needs:    PyTorch, BackPACK and Opacus (`pip install -e ".[peers]"`); of a peer that can't be
          imported the results say so.
Targets:  on CPU at most 1.3, 2.1 and 2.7 times a plain gradient; on GPU 1.2, 1.8 and 2.4 times, and
          half the time of every peer.

All have the same weights and data in float32, networks in inference mode, and go through the data
in chunks of the same size. Before a race starts they must agree (see `check`). "plain gradient" is
one compiled program for the mean gradient alone, "PyTorch gradient" a `backward` per batch. How
each peer takes what is asked of it stands in `_noise_peers`. "memory" lets `noise_profile` run on
data of two, four and eight chunks: neither the time per two chunks nor the peak memory should grow.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import jaxnoise as jn
from experiments._common import check_at_least, main
from jaxnoise._streaming import sum_examples
from jaxnoise._tree import num_examples

from . import _noise_peers, _pytorch
from ._harness import RESULTS, Race, chosen, compare, not_installed
from .models import Case, batches, networks
from .reports.gradient_noise import ASKED, MEMORY, OURS, PEERS, PLAIN, TORCH_PLAIN

CLASSES = dict(
    zip(
        PEERS,
        (
            _noise_peers.TorchFunc,
            _noise_peers.BackPACK,
            _noise_peers.OpacusGhost,
            _noise_peers.OpacusSamples,
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    part: int = 1
    """Take a data set this many times smaller, of one chunk at least."""
    quick: bool = False
    """Two chunks of four examples, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


_IMAGES = {"in_channels": 1, "image_size": 28}

# The shape is a chunk's; steps are the chunks that the data make.
CASES = [
    Case(
        "FeedForward 784-256-256-10",
        functools.partial(jn.models.FeedForward, **_IMAGES),
        _pytorch.FeedForward,
        (128, 28, 28, 1),
        num_classes=10,
        steps=32,
    ),
    Case(
        "SmallCNN 28²",
        functools.partial(jn.models.SmallCNN, **_IMAGES),
        functools.partial(_pytorch.SmallCNN, **_IMAGES),
        (128, 28, 28, 1),
        num_classes=10,
        steps=4,
    ),
    Case("ResNet18 32²", jn.models.ResNet18, _pytorch.ResNet18, (32, 32, 32, 3), 10, steps=2),
]


def races(config: Config) -> Iterator[Race]:
    check_at_least(config, 1, "part")
    makers = {}
    for case in CASES:
        case = dataclasses.replace(case, steps=max(1, case.steps // config.part))
        if config.quick:
            case = dataclasses.replace(case, shape=(4, *case.shape[1:]), steps=2)
        makers[f"{case.name}, memory"] = functools.partial(memory, case)
        for asked in ASKED:
            makers[f"{case.name}, {asked}"] = functools.partial(race, case, asked)
    for make in chosen(makers, config.only):
        yield make()


def race(case: Case, asked: str) -> Race:
    """Ours and the peers' ways to what is asked, beside the gradients alone."""
    model, twin = networks(case)
    x, y, tx, ty = batches(case, case.steps)
    chunk = case.shape[0]
    ours = Ours(model, {"image": x, "label": y}, chunk)
    pairs = list(zip(tx.split(chunk), ty.split(chunk), strict=True))
    peers, absent = {}, {}
    for name, peer in CLASSES.items():
        try:
            peers[name] = peer(twin, pairs)
        except ImportError as error:
            absent[name] = not_installed(error)
    plain = {PLAIN: ours.mean, TORCH_PLAIN: _noise_peers.Plain(twin, pairs).mean}
    method = asked.replace(" ", "_")
    noise = {name: getattr(each, method) for name, each in {OURS: ours, **peers}.items()}
    for calls in (plain, noise):
        check(case, {name: arrays(call(), model, twin) for name, call in calls.items()})
    contestants = {name: finished(call) for name, call in {**plain, **noise}.items()}
    return Race(
        f"{case.name}, {len(x)} examples, {asked}",
        contestants,
        dict.fromkeys(contestants, 1),
        PLAIN,
        (TORCH_PLAIN, OURS),
        absent,
    )


def memory(case: Case) -> Race:
    """The profile of data on the device that grow."""
    model, _ = networks(case)
    contestants = {}
    for name, times in MEMORY.items():
        x, y, *_ = batches(case, 2 * times)
        contestants[name] = finished(Ours(model, {"image": x, "label": y}, case.shape[0]).profile)
    return Race(f"{case.name}, memory, n = {2 * case.shape[0]}", contestants, MEMORY, peer="n")


class Ours:
    """The functions of `jaxnoise.gradients`, and the gradient alone."""

    def __init__(self, model: nnx.Module, data: Any, chunk_size: int):
        self.params, self.loss_fn = jn.models.split(model, jn.losses.cross_entropy)
        self.data = data
        self.chunk_size = chunk_size

    def mean(self) -> Any:
        return plain_gradient(self.loss_fn, self.params, self.data, self.chunk_size)

    def norms(self) -> jax.Array:
        return self._asked(jn.gradients.squared_norms)

    def norms_and_mean(self) -> tuple[jax.Array, Any]:
        return self._asked(jn.gradients.squared_norms_and_mean)

    def profile(self) -> jn.gradients.NoiseProfile:
        return self._asked(jn.gradients.noise_profile)

    def _asked(self, function: Callable) -> Any:
        return function(self.loss_fn, self.params, self.data, chunk_size=self.chunk_size)


@functools.partial(jax.jit, static_argnums=3)
def plain_gradient(loss_fn: Callable, params: Any, data: Any, chunk_size: int) -> Any:
    """ḡ, chunk by chunk."""

    def gradient_sum(chunk: Any, weights: jax.Array) -> Any:
        return jax.grad(lambda p: jnp.sum(weights * loss_fn(p, chunk)))(params)

    total = sum_examples(gradient_sum, data, chunk_size)
    return jax.tree.map(lambda g: g / num_examples(data), total)


def finished(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, which returns when its work is done."""

    def contestant() -> Any:
        result = jax.block_until_ready(call())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return contestant


def arrays(result: Any, model: nnx.Module, twin: torch.nn.Module) -> dict[Any, np.ndarray]:
    """What a contestant gave, by name; gradients by their paths in the model, laid out as there."""
    if isinstance(result, jn.gradients.NoiseProfile | _noise_peers.Profile):
        return {name: _array(getattr(result, name)) for name in _noise_peers.Profile._fields}
    if isinstance(result, tuple):
        norms, mean = result
        return arrays(norms, model, twin) | arrays(mean, model, twin)
    if isinstance(result, nnx.State):
        return {path: np.asarray(leaf) for path, leaf in nnx.to_flat_state(result)}
    if isinstance(result, list):
        holder = copy.deepcopy(twin).cpu()
        for parameter, gradient in zip(holder.parameters(), result, strict=True):
            parameter.grad = gradient.cpu()
        return _pytorch.read_weights(holder, model, gradients=True)
    return {"squared_norms": _array(result)}


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)


def check(case: Case, given: dict[str, dict[Any, np.ndarray]]) -> None:
    """Raises unless all agree in norm: statistics to 0.1 %, the gradient of a parameter to 1 %.

    Where two pixels of a max-pooling's window nearly tie, rounding decides which of them gets the
    gradient; in the mean gradient of the layers below this shows.
    """
    first, *others = given
    for other in others:
        for name, expected in given[first].items():
            tolerance = 1e-2 if isinstance(name, tuple) else 1e-3
            error = np.linalg.norm(given[other][name] - expected)
            if not error <= tolerance * np.linalg.norm(expected):
                raise ValueError(f"{case.name}: {other} and {first} disagree on {name}")


def benchmark(config: Config) -> None:
    torch.backends.cudnn.allow_tf32 = False  # JAX is asked the same below
    with jax.default_matmul_precision("float32"):
        repetitions = 1 if config.quick else config.repetitions
        compare("gradient_noise", races(config), repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
