"""Graduated descent from ten thousand starts, against loops in NumPy and PyTorch.

Question: how much faster is one compiled program than the loop over starts that one writes first,
          and than code that takes all starts at once?
Command:  python -m experiments.benchmarks.graduated_descent
Time:     one to two minutes on two CPU cores.
Needs:    PyTorch (`pip install -e ".[peers]"`).
Target:   the NumPy loop takes a hundred times as long.

Rastrigin's function, 5 stages of 20 steps, 32 shifts in pairs, drawn anew in each step from the
unit ball, float32 everywhere. Times are per start, ratios are to jaxnoise's time: how many times as
long the others take. The loop over starts is timed on twenty of them: it takes all shifts of a step
at once and an analytic gradient. "NumPy, at once" and "PyTorch, at once" take the shifts one after
another and the starts at once, as jaxnoise does, and are timed on a thousand; PyTorch and jaxnoise
differentiate by themselves. Before a race starts, all must reach about the same mean value.
"""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import torch

import jaxnoise as jn
from experiments._common import main

from ._harness import RESULTS, Race, compare
from .reports.graduated_descent import LOOP, NUMPY, OURS, TORCH

RATE, NUM_SAMPLES = 0.002, 32


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 5
    """Alternating runs of every contestant."""
    dimensions: tuple[int, ...] = (1, 2, 10, 100)
    """Dimensions of the function, a case each."""
    starts: int = 10_000
    """Starts, uniform in the usual domain."""
    loop_starts: int = 20
    """Of these, how many the loop over starts is timed on …"""
    at_once_starts: int = 1000
    """… and how many NumPy and PyTorch take at once."""
    quick: bool = False
    """Few starts, stages and steps, once; to try the command."""
    out: Path = RESULTS
    """Folder of the results."""


@dataclass(frozen=True)
class Task:
    """What every contestant does: starts (n, d), δ of each stage, steps per stage."""

    starts: np.ndarray
    deltas: np.ndarray
    num_steps: int


def races(config: Config) -> Iterator[Race]:
    n, stages, steps = (200, 2, 3) if config.quick else (config.starts, 5, 20)
    work = {
        OURS: n,
        LOOP: min(n, config.loop_starts),
        NUMPY: min(n, config.at_once_starts),
        TORCH: min(n, config.at_once_starts),
    }
    runs = {OURS: ours, LOOP: over_starts, NUMPY: numpy_at_once, TORCH: torch_at_once}
    problem = jn.smoothing.functions.PROBLEMS["rastrigin"]
    for d in config.dimensions:
        rng = np.random.default_rng(0)
        starts = rng.uniform(problem.lower, problem.upper, size=(n, d)).astype(np.float32)
        deltas = np.asarray(jn.smoothing.polynomial_deltas(0.6 * math.sqrt(d), stages))
        contestants = {
            name: functools.partial(run, Task(starts[: work[name]], deltas, steps))
            for name, run in runs.items()
        }
        check(d, {name: contestant() for name, contestant in contestants.items()})
        name = f"Rastrigin in {d} dimension{'s' * (d > 1)}, {n} starts, {stages} × {steps} steps"
        yield Race(name, contestants, work, OURS)


def ours(task: Task) -> np.ndarray:
    found = jn.smoothing.graduated_descent(
        jax.random.key(0),
        jn.smoothing.functions.rastrigin,
        task.starts,
        task.deltas,
        learning_rate=RATE,
        num_steps=task.num_steps,
        num_samples=NUM_SAMPLES,
        vectorized=True,
    )
    return np.asarray(found.point)


def over_starts(task: Task) -> np.ndarray:
    rng, ends = np.random.default_rng(1), []
    for x in task.starts:
        for delta in task.deltas:
            for _ in range(task.num_steps):
                shifts = delta * in_ball(rng, len(x))
                points = np.concatenate([x - shifts, x + shifts])
                x = x - np.float32(RATE) * np.mean(slope(points), axis=0)
        ends.append(x)
    return np.stack(ends)


def numpy_at_once(task: Task) -> np.ndarray:
    rng, x = np.random.default_rng(1), task.starts
    for delta in task.deltas:
        for _ in range(task.num_steps):
            total = np.zeros_like(x)
            for shift in delta * in_ball(rng, x.shape[1]):
                total += slope(x - shift)
                total += slope(x + shift)
            x = x - np.float32(RATE / NUM_SAMPLES) * total
    return x


def torch_at_once(task: Task) -> np.ndarray:
    rng, x = np.random.default_rng(1), torch.from_numpy(task.starts)
    for delta in task.deltas:
        for _ in range(task.num_steps):
            total = torch.zeros_like(x)
            for shift in torch.from_numpy(delta * in_ball(rng, x.shape[1])):
                for point in (x - shift, x + shift):
                    point.requires_grad_()
                    total += torch.autograd.grad(torch_rastrigin(point).sum(), point)[0]
            x = x - RATE / NUM_SAMPLES * total
    return x.numpy()


def torch_rastrigin(x: torch.Tensor) -> torch.Tensor:
    return torch.sum(x**2 + 10 * (1 - torch.cos(2 * math.pi * x)), -1)


def slope(x: np.ndarray) -> np.ndarray:
    """The gradient of Rastrigin's function at points (…, d)."""
    return 2 * x + np.float32(20 * math.pi) * np.sin(np.float32(2 * math.pi) * x)


def in_ball(rng: np.random.Generator, dimension: int) -> np.ndarray:
    """(NUM_SAMPLES/2, d) shifts, of which each pair takes one."""
    normal = rng.standard_normal((NUM_SAMPLES // 2, dimension), dtype=np.float32)
    radius = rng.random((NUM_SAMPLES // 2, 1), dtype=np.float32) ** (1 / dimension)
    return normal * (radius / np.linalg.norm(normal, axis=1, keepdims=True))


def check(dimension: int, ends: dict[str, np.ndarray]) -> None:
    """Raises unless all reach the same mean value within a fifth, and four standard errors."""
    values = {name: np.asarray(jn.smoothing.functions.rastrigin(x)) for name, x in ends.items()}
    expected = values[OURS].mean()
    for name, found in values.items():
        error = np.std(found) / math.sqrt(len(found))
        if not abs(found.mean() - expected) < expected / 5 + 4 * error:
            raise ValueError(
                f"{dimension} dimensions: {name} reaches {found.mean():.4g} on average where "
                f"{OURS} reaches {expected:.4g}"
            )


def benchmark(config: Config) -> None:
    repetitions = 1 if config.quick else config.repetitions
    compare("graduated_descent", races(config), repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
