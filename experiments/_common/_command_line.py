"""From a documented dataclass to a command line with clear errors."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import tyro

from jaxnoise._checks import one_line
from jaxnoise._lock import held

Config = TypeVar("Config")


def main(run: Callable[[Config], None], config: type[Config]) -> None:
    """Fills `config` from the command line and runs the experiment, alone in the folder `out`.

    What the user can mend (a wrong option, a missing or damaged file, a full disk, a folder that
    another run has, a diverging run) ends with one line on standard error and exit status 1.
    SIGTERM is as Ctrl-C: the run is over, and what it has finished stays for --resume.
    Where `config` has an option `distributed`, the run may be one of several processes.
    """
    try:
        options: Any = tyro.cli(config)
        with _sigterm_interrupts(), _joined(options) as own, held(own.out, "--out"):
            run(own)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {one_line(error)}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Lets the signal by which schedulers and systems end a process raise KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _joined(options: Any) -> Iterator[Any]:
    """Joins the other processes if asked to; all but the first then write and print for nobody.

    Raises:
      ValueError: if there are none to join.
    """
    if not getattr(options, "distributed", False):
        yield options
        return
    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed: JAX finds no other processes ({error}): start the command on a TPU "
            "pod slice, by srun or by mpirun, or leave out --distributed"
        ) from error
    if jax.process_index() == 0:
        yield options
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        yield dataclasses.replace(options, out=Path(folder))


def say(message: str) -> None:
    """Tells on standard error what is being done."""
    print(message, file=sys.stderr, flush=True)
