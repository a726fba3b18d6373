"""Times pieces of work on a number of devices, and keeps what they found."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnoise._results import write_npz

from .._common import say
from ._config import Config, Piece, Plan
from ._pieces import MAKE, SIZES

SECONDS = "seconds"  # beside the arrays that a piece of work found
_CONTEXT: Any = multiprocessing.get_context("spawn")


def simulated(config: Config) -> bool:
    """Whether devices are made up of one CPU."""
    return jax.default_backend() == "cpu" and not config.distributed


def is_possible(count: int) -> bool:
    """Whether this process, or all processes with as many devices each, have so many."""
    together = count <= jax.device_count() and count % jax.process_count() == 0
    return count <= jax.local_device_count() or together


def sharding_of(count: int) -> NamedSharding | None:
    """Over the first devices; None for a single one.

    Where a process has enough devices, it takes its own, and all processes do the same work.
    """
    if count == 1:
        return None
    found = jax.local_devices()[:count]
    if len(found) < count:
        each = count // jax.process_count()
        hosts = range(jax.process_count())
        found = [device for host in hosts for device in jax.local_devices(host)[:each]]
    return NamedSharding(Mesh(np.array(found), ("devices",)), PartitionSpec("devices"))


def file_of(folder: Path, piece: Piece, count: int) -> Path:
    return folder / f"{piece}_on_{count}.npz"


def measure(count: int, pieces: Sequence[Piece], plan: Plan, folder: Path) -> None:
    """Runs pieces of work on the first devices, and writes a file for each.

    Products of matrices are in float32, on GPU and TPU, too, so that differences are rounding.
    """
    sharding = sharding_of(count)
    for piece in pieces:
        say(f"{piece} on {count} device{'s' if count > 1 else ''}")
        with jax.default_matmul_precision("float32"):
            work = MAKE[piece](SIZES[plan.preset], sharding)
            found, seconds = work(), []
            for _ in range(plan.rounds):
                start = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - start)
        write_npz(file_of(folder, piece, count), {SECONDS: np.array(seconds), **found})


def measure_simulated(count: int, pieces: Sequence[Piece], plan: Plan, folder: Path) -> None:
    """`measure` in a process of its own, whose CPU counts as so many devices.

    Raises:
      ValueError: if it fails.
    """
    process = _CONTEXT.Process(target=_simulate, args=(count, pieces, plan, folder), daemon=True)
    process.start()
    process.join()
    if process.exitcode:
        raise ValueError(f"the process with {count} devices failed, see above")


def _simulate(count: int, *work: Any) -> None:
    jax.config.update("jax_num_cpu_devices", count)
    measure(count, *work)
