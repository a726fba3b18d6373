"""From a documented dataclass to a command line with clear errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

Config = TypeVar("Config")


def main(run: Callable[[Config], None], config: type[Config]) -> None:
    """Fills `config` from the command line and runs the experiment.

    What the user can mend (a wrong option, a missing or damaged file, a diverging run) ends with
    one line on standard error and exit status 1.
    """
    try:
        run(tyro.cli(config))
    except (ValueError, OSError) as error:
        line = " ".join(str(error).split())
        sys.exit(f"error: {line or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def say(message: str) -> None:
    """Tells on standard error what is being done."""
    print(message, file=sys.stderr, flush=True)
