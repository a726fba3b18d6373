"""All benchmarks, each in a process of its own, and what they found as one table."""

from __future__ import annotations

import importlib
import multiprocessing
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax

from experiments._common import say, text_table
from jaxnoise._checks import one_line

from ._harness import NOT_INSTALLED, RESULTS, chosen, not_installed
from ._measured import cell, load
from ._summary import summary
from .reports import REPORTS
from .tables import by_device

# What the default leaves out of each benchmark's own settings: slow cases that others stand for.
QUICK: dict[str, dict[str, Any]] = {
    "models": {"only": ("batch 8, training", "U-Net 3-D, training")},
    "convolution": {"only": ("transposed",), "repetitions": 5},
    "small_batch": {"only": ("update",), "repetitions": 5},
    "gradient_noise": {
        "only": ("FeedForward, norms", "FeedForward, profile", "SmallCNN, norms", "SmallCNN, prof"),
        "part": 8,
    },
    "landscape": {"only": ("FeedForward, peers", "SmallCNN, peers")},
    "sharpness": {"only": ("FeedForward, adaptive", "SmallCNN, adaptive")},
    "graduated_descent": {"dimensions": (2, 100)},
    "sliding_window": {"only": ("race",), "size": 64},
    "start_up": {"repetitions": 5},
    "growth": {},
}

# What an accelerator has targets for besides.
QUICK_ACCELERATED = {"small_batch": {"only": ("update", "replicas, ResNet18")}}


@dataclass(frozen=True)
class Config:
    """What to run."""

    only: tuple[str, ...] = ()
    """Only the benchmarks whose names contain one of these."""
    full: bool = False
    """All cases, with each benchmark's own settings."""
    out: Path = Path("runs/benchmarks")
    """Folder of the results."""


def run(config: Config) -> None:
    names = chosen({name: name for name in REPORTS}, config.only)
    begun = time.time()
    failures = {}
    for name in names:
        say(f"== {name}")
        failures[name] = failure(name, config.full, config.out)
    fresh = [one for one in load(config.out) if one.path.stat().st_mtime >= begun]
    kept = [one for one in load(RESULTS) if one.path not in {f.path.resolve() for f in fresh}]
    device = fresh[0].device if fresh else "this device"
    columns = {**by_device(kept), f"this run, {device}": fresh}
    table = summary(columns, names, failures)
    rows = [[cell(value) for value in row] for row in table.rows]
    print(f"\n{text_table(table.header, rows)}\n\n{(time.time() - begun) / 60:.1f} minutes")
    failed = [name for name in names if failures[name] and NOT_INSTALLED not in failures[name]]
    if failed:
        raise ValueError(f"{', '.join(failed)} came to no end: see the table")


def failure(name: str, full: bool, out: Path) -> str:
    """Runs a benchmark in a process of its own; why it came to no end, or nothing."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_benchmark, args=(name, full, out, sender), daemon=True)
    process.start()
    sender.close()
    try:
        reason = receiver.recv()
    except EOFError:
        reason = None
    process.join()
    return f"ended with exit status {process.exitcode}" if reason is None else reason


def _benchmark(name: str, full: bool, out: Path, sender: Connection) -> None:
    try:
        module = importlib.import_module(f"experiments.benchmarks.{name}")
        module.benchmark(module.Config(out=out, **({} if full else quick_options(name))))
        sender.send("")
    except ImportError as error:
        sender.send(not_installed(error))
    except Exception as error:
        traceback.print_exc()
        sender.send(f"failed: {one_line(error)}")


def quick_options(name: str) -> dict[str, Any]:
    """Settings of the default run on this device; asks JAX for it."""
    more = {} if jax.default_backend() == "cpu" else QUICK_ACCELERATED
    return QUICK[name] | more.get(name, {})
