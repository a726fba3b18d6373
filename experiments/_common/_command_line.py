"""From a documented dataclass to a command line with clear errors."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import tyro

from jaxnoise._lock import held

Config = TypeVar("Config")


def main(run: Callable[[Config], None], config: type[Config]) -> None:
    """Fills `config` from the command line and runs the experiment, alone in the folder `out`.

    What the user can mend (a wrong option, a missing or damaged file, a full disk, a folder that
    another run has, a diverging run) ends with one line on standard error and exit status 1.
    SIGTERM is as Ctrl-C: the run is over, and what it has finished stays for --resume.
    """
    try:
        options: Any = tyro.cli(config)
        with _sigterm_interrupts(), held(options.out, "--out"):
            run(options)
    except (ValueError, OSError) as error:
        line = " ".join(str(error).split())
        sys.exit(f"error: {line or type(error).__name__}")
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


def say(message: str) -> None:
    """Tells on standard error what is being done."""
    print(message, file=sys.stderr, flush=True)
