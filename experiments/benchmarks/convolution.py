"""Convolutions alone, forward and backward, against PyTorch's and XLA's.

Question: how fast is `jaxnoise.models.convolution`, inside a compiled loop and outside it?
Command:  python -m experiments.benchmarks.convolution
Needs:    PyTorch (`pip install torch`).
Target:   transposed convolutions at most 1.3 times PyTorch's time on CPU.

One unit of work is a layer's output, or its output and both gradients, at the sizes of the
networks in jaxnoise.models. With --xla, XLA's own convolution runs inside the loop, too: it takes
long.
"""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

import jaxnoise as jn
from experiments._common import main

from ._harness import RESULTS, Race, chosen, compare
from .reports.convolution import ALONE, FORWARD, GRADIENTS, LOOP, PEER, XLA


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 7
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    xla: bool = False
    """Show XLA's own convolution inside the loop, too."""
    quick: bool = False
    """Only the first case, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


@dataclass(frozen=True)
class Layer:
    """A convolution of B images with `size` pixels a side that takes C channels to O features."""

    batch: int
    size: int
    channels: int
    features: int
    kernel: int
    stride: int = 1
    ndim: int = 2
    transposed: bool = False

    @property
    def padding(self) -> int:
        """Zeros around the images as PyTorch counts them."""
        return (self.kernel - 1) // 2 if self.transposed else self.kernel // 2

    def __str__(self) -> str:
        kind = "transposed " if self.transposed else ""
        return (
            f"{self.ndim}-D {kind}{self.kernel}^{self.ndim}/{self.stride} "
            f"{self.channels}→{self.features}, {self.batch}×{self.size}^{self.ndim}"
        )


LAYERS = [
    *(Layer(batch, 32, 64, 64, 3) for batch in (1, 8, 128)),
    Layer(8, 32, 64, 128, 3, stride=2),
    Layer(8, 16, 128, 128, 3),
    Layer(8, 8, 256, 256, 3),
    Layer(8, 4, 512, 512, 3),
    Layer(8, 14, 64, 64, 5),
    Layer(1, 64, 128, 128, 3),
    *(Layer(batch, 32, 128, 64, 2, stride=2, transposed=True) for batch in (1, 8)),
    Layer(1, 64, 128, 64, 4, stride=2, transposed=True),
    Layer(1, 64, 8, 8, 3, ndim=3),
    Layer(1, 32, 16, 16, 3, ndim=3),
    Layer(1, 16, 32, 32, 3, ndim=3),
    Layer(8, 16, 32, 32, 3, ndim=3),
    Layer(1, 8, 64, 32, 3, stride=2, ndim=3, transposed=True),
    Layer(1, 16, 32, 16, 3, stride=2, ndim=3, transposed=True),
    Layer(1, 32, 16, 8, 3, stride=2, ndim=3, transposed=True),
]


def races(config: Config) -> Iterator[Race]:
    makers = {
        f"{layer}, {kind}": functools.partial(race, layer, kind, config.xla)
        for layer in (LAYERS[:1] if config.quick else LAYERS)
        for kind in (FORWARD, GRADIENTS)
    }
    for make in chosen(makers, config.only):
        yield make()


def race(layer: Layer, kind: str, xla: bool) -> Race:
    backward = kind == GRADIENTS
    x, kernel, dy, peer = operands(layer)
    passes = 6
    ours, xlas = [jax.jit(loop(layer, way, backward, passes)) for way in ("ours", "xla")]
    single = jax.jit(one(layer, "ours", backward))
    contestants = {
        LOOP: lambda: jax.block_until_ready(ours(x, kernel, dy)),
        ALONE: lambda: [jax.block_until_ready(single(x, kernel, dy)) for _ in range(passes)],
        XLA: lambda: jax.block_until_ready(xlas(x, kernel, dy)),
        PEER: torch_passes(layer, backward, passes, *peer),
    }
    if not xla:
        del contestants[XLA]
    return Race(f"{layer}, {kind}", contestants, dict.fromkeys(contestants, passes), PEER)


def one(layer: Layer, way: str, backward: bool):
    """(x, kernel, dy) → the output, with both gradients where `backward`."""
    strides = (layer.stride,) * layer.ndim

    def convolve(x, kernel):
        if layer.transposed:
            low = layer.kernel - 1 - layer.padding
            pads = [(low, layer.padding + 1)] * layer.ndim
            function = jn.models.conv_transpose if way == "ours" else lax.conv_transpose
            return function(x, kernel, strides, pads)
        numbers = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}[layer.ndim]
        pads = [(layer.padding, layer.padding)] * layer.ndim
        function = jn.models.convolution if way == "ours" else lax.conv_general_dilated
        return function(x, kernel, strides, pads, dimension_numbers=numbers)

    def run(x, kernel, dy):
        if not backward:
            return convolve(x, kernel)
        y, vjp = jax.vjp(convolve, x, kernel)
        return y, *vjp(dy)

    return run


def loop(layer: Layer, way: str, backward: bool, passes: int):
    """The same `passes` times in a `lax.scan`, each with other operands."""
    run = one(layer, way, backward)

    def passed(x, kernel, dy):
        def step(total, scale):
            results = run(scale * x, scale * kernel, scale * dy)
            results = lax.optimization_barrier(results)  # so that all of each is computed
            return total + sum(r.ravel()[0] for r in jax.tree.leaves(results)), None

        return lax.scan(step, jnp.zeros(()), jnp.linspace(0.5, 1.5, passes))[0]

    return passed


def operands(layer: Layer):
    rng = np.random.default_rng(0)
    d, side = layer.ndim, layer.size
    out = side * layer.stride if layer.transposed else -(-side // layer.stride)
    x = rng.normal(size=(layer.batch, *(side,) * d, layer.channels)).astype(np.float32)
    shape = (*(layer.kernel,) * d, layer.channels, layer.features)
    kernel = rng.normal(size=shape).astype(np.float32)
    dy = rng.normal(size=(layer.batch, *(out,) * d, layer.features)).astype(np.float32)
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    first = (d, d + 1) if layer.transposed else (d + 1, d)
    peer = [
        torch.tensor(np.moveaxis(x, -1, 1), device=device).contiguous(),
        torch.tensor(kernel.transpose(*first, *range(d)), device=device).contiguous(),
        torch.tensor(np.moveaxis(dy, -1, 1), device=device).contiguous(),
    ]
    return jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(dy), peer


def torch_passes(layer: Layer, backward: bool, passes: int, x, kernel, dy):
    d = layer.ndim
    extra = 2 * layer.padding + 2 - layer.kernel if layer.transposed else 0
    settings = ([layer.stride] * d, [layer.padding] * d, [1] * d, layer.transposed, [extra] * d, 1)

    def run() -> None:
        for _ in range(passes):
            torch.ops.aten.convolution(x, kernel, None, *settings)
            if backward:
                mask = [True, True, False]
                torch.ops.aten.convolution_backward(dy, x, kernel, None, *settings, mask)
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def benchmark(config: Config) -> None:
    compare("convolution", races(config), 1 if config.quick else config.repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
