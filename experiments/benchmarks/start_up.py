"""How long a program waits until jaxnoise is imported.

Question: does `import jaxnoise` take longer than the libraries that it stands on?
Command:  python -m experiments.benchmarks.start_up
Target:   at most 1.2 times as long as JAX, Flax and optax, on every machine.

Each import has a fresh process, whose start counts, too: it takes some tens of milliseconds.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments._common import main

from ._harness import RESULTS, Race, compare
from .reports.start_up import LIBRARIES, OURS


@dataclass(frozen=True)
class Config:
    """Settings of the benchmark."""

    repetitions: int = 9
    """Alternating runs of every contestant."""
    out: Path = RESULTS
    """Folder of the results."""


IMPORTS = {OURS: "import jaxnoise", LIBRARIES: "import jax, flax.nnx, optax"}


def races(config: Config) -> Iterator[Race]:
    contestants = {name: functools.partial(fresh, code) for name, code in IMPORTS.items()}
    work = dict.fromkeys(contestants, 1)
    yield Race("import", contestants, work, LIBRARIES, memory=False)


def fresh(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def benchmark(config: Config) -> None:
    compare("start_up", races(config), config.repetitions, config.out)


if __name__ == "__main__":
    main(benchmark, Config)
