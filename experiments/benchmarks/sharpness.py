"""Sharpness and curvature, against the loops that users of PyTorch write.

Question: what does the adaptive sharpness cost beside its gradients alone, and beside a loop in
          PyTorch? What do the two solvers of the box sharpness and Lanczos' method cost?
Command:  python -m experiments.benchmarks.sharpness
Needs:    PyTorch (`pip install -e ".[peers]"`).
Targets:  the adaptive sharpness in half of the loop's time on CPU, a fifth on GPU.

Same weights and data in float32, networks in inference mode. The adaptive sharpness takes 20 steps
on every batch; the loop takes a gradient and a loss of its own in each, as the public code does
that the measure is known from. "gradients" are as many gradients as there are steps, called one by
one. Before a race starts both must agree (see `check`). "box" climbs with SciPy's L-BFGS-B from one
start, or on the device from four; "eigenvalue" is the largest of the Hessian after 20 products.
Networks of more than two million weights take part in neither: SciPy makes a tuple of each weight's
bounds, and a Krylov space is held in memory.
"""

# pyright: reportMissingImports=false
# The peers are extras that the type checker may lack.

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import jaxnoise as jn
from experiments._common import main

from . import _pytorch, _sharpness_peers
from ._harness import RESULTS, Race, chosen, compare
from .models import Case, batches, networks
from .reports.sharpness import ADAPTIVE, BOX, DEVICE, EIGENVALUE, GRADIENTS, HOST, LOOP, OURS

RHO, EPSILON = 2e-3, 1e-3
NUM_STEPS = 20
LARGE = "ResNet18 32²"  # has more than two million weights: only its adaptive sharpness is taken

_PROJECTED_LACKS = 0.05  # the part of the other solver's increase that one may lack


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    only: tuple[str, ...] = ()
    """Only the cases whose names contain all that one of these has between its commas."""
    quick: bool = False
    """Two batches of four examples and a few steps, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


_IMAGES = {"in_channels": 1, "image_size": 28}

# The shape is a batch's; steps are the batches.
CASES = [
    Case(
        "FeedForward 784-256-256-10",
        functools.partial(jn.models.FeedForward, **_IMAGES),
        _pytorch.FeedForward,
        (128, 28, 28, 1),
        num_classes=10,
        steps=8,
    ),
    Case(
        "SmallCNN 28²",
        functools.partial(jn.models.SmallCNN, **_IMAGES),
        functools.partial(_pytorch.SmallCNN, **_IMAGES),
        (64, 28, 28, 1),
        num_classes=10,
        steps=2,
    ),
    Case(LARGE, jn.models.ResNet18, _pytorch.ResNet18, (16, 32, 32, 3), 10, steps=1),
]


def races(config: Config) -> Iterator[Race]:
    num_steps = 6 if config.quick else NUM_STEPS
    makers = {}
    for case in CASES:
        if config.quick:
            case = dataclasses.replace(case, shape=(4, *case.shape[1:]), steps=2)
        asked = {ADAPTIVE: adaptive, BOX: box, EIGENVALUE: eigenvalue}
        for name in [ADAPTIVE] if case.name == LARGE else asked:
            makers[f"{case.name}, {name}"] = functools.partial(asked[name], case, num_steps)
    for make in chosen(makers, config.only):
        yield make()


def adaptive(case: Case, num_steps: int) -> Race:
    """The adaptive sharpness, beside the gradients alone."""
    loss_fn, params, data, twin, pairs = parts(case)
    size = case.shape[0]
    starts = range(0, case.steps * size, size)
    slices = [{name: x[start : start + size] for name, x in data.items()} for start in starts]

    def ours() -> list[float]:
        found = jn.sharpness.worst_case_sharpness(
            loss_fn,
            params,
            data,
            RHO,
            scaling="magnitude",
            num_steps=num_steps,
            batch_size=size,
        )
        return found.batch_values.tolist()

    def loop() -> list[float]:
        return _sharpness_peers.adaptive_sharpness(twin, pairs, RHO, num_steps)

    def gradients() -> None:
        for batch in slices:
            for _ in range(num_steps):
                jax.block_until_ready(value_and_gradient(loss_fn, params, batch))

    check(case, LOOP, loop(), ours(), 1e-3)
    contestants = {OURS: ours, LOOP: loop, GRADIENTS: gradients}
    return Race(
        f"{case.name}, {case.steps} × {size} examples, {ADAPTIVE}, {num_steps} steps",
        contestants,
        dict.fromkeys(contestants, case.steps),
        LOOP,
        (GRADIENTS,),
    )


def box(case: Case, num_steps: int) -> Race:
    """The two solvers of the box sharpness."""
    loss_fn, params, data, *_ = parts(case)

    def solving(solver: Any) -> Callable[[], float]:
        def solve() -> float:
            found = jn.sharpness.box_sharpness(
                loss_fn,
                params,
                data,
                EPSILON,
                solver=solver,
                chunk_size=case.shape[0],
                max_iterations=min(10, num_steps),
            )
            return float(found.value)

        return solve

    contestants = {HOST: solving("lbfgsb"), DEVICE: solving("projected")}
    host, device = (solve() for solve in contestants.values())
    if device < (1 - _PROJECTED_LACKS) * host:
        raise ValueError(f"{case.name}: {DEVICE} finds {device:.4g} where {HOST} finds {host:.4g}")
    name = f"{case.name}, {case.steps * case.shape[0]} examples, {BOX}"
    return Race(name, contestants, dict.fromkeys(contestants, 1), HOST)


def eigenvalue(case: Case, num_steps: int) -> Race:
    """The largest eigenvalue of the Hessian, by as many products."""
    loss_fn, params, data, twin, pairs = parts(case)

    def ours() -> float:
        found = jn.sharpness.hessian_eigenvalues(
            loss_fn,
            params,
            data,
            key=jax.random.key(0),
            max_iterations=num_steps,
            tolerance=1e-12,  # so that it takes all of them
            chunk_size=case.shape[0],
        )
        return float(found.values[0])

    def loop() -> float:
        return _sharpness_peers.top_eigenvalue(twin, pairs, num_steps)

    if num_steps == NUM_STEPS:
        check(case, LOOP, [loop()], [ours()], 1e-2)
    contestants = {OURS: ours, LOOP: loop}
    name = f"{case.name}, {case.steps * case.shape[0]} examples, {EIGENVALUE}, {num_steps} products"
    return Race(name, contestants, dict.fromkeys(contestants, num_steps), LOOP)


def parts(case: Case) -> tuple[Any, Any, Any, Any, Any]:
    """(loss, parameters, data, the twin in inference mode, batches for it)."""
    model, twin = networks(case)
    x, y, tx, ty = batches(case, case.steps)
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    twin.eval()
    pairs = list(zip(tx.split(case.shape[0]), ty.split(case.shape[0]), strict=True))
    return loss_fn, params, {"image": x, "label": y}, twin, pairs


@jax.jit
def value_and_gradient(loss_fn: Callable, params: Any, data: Any) -> Any:
    return jax.value_and_grad(lambda p: jnp.mean(loss_fn(p, data)))(params)


def check(
    case: Case, other: str, found: Sequence[float], expected: Sequence[float], tolerance: float
) -> None:
    """Raises unless both agree within the relative tolerance."""
    if not np.allclose(found, expected, rtol=tolerance, atol=0):
        raise ValueError(f"{case.name}: {other} gives {found} where {OURS} gives {expected}")


def benchmark(config: Config) -> None:
    torch.backends.cudnn.allow_tf32 = False  # JAX takes full precision by itself
    with jax.default_matmul_precision("float32"):
        repetitions = 1 if config.quick else config.repetitions
        compare("sharpness", races(config), repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
