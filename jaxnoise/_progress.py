"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Shows on standard error how far some work has come.

    Args:
      total: number of units of work.
      description: what the work is.
      unit: what is counted.
      shown: whether to show anything at all.
    """

    def __init__(self, total: int, description: str, unit: str, shown: bool = True):
        self._total, self._description, self._unit = total, description, unit
        self._done, self._printed = 0, time.monotonic()
        on_terminal = shown and sys.stderr.isatty()
        self._plain = shown and not on_terminal
        self._bar = tqdm(total=total, desc=description, unit=unit, disable=not on_terminal)

    def update(self, amount: int = 1, note: str = "") -> None:
        """Counts `amount` units as done; `note` says how the work stands."""
        self._done += amount
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)
        late = time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES
        if self._plain and (late or self._done >= self._total):
            self._printed = time.monotonic()
            line = f"{self._description}: {self._done}/{self._total} {self._unit}"
            print(f"{line}  {note}".rstrip(), file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
