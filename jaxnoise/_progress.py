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
      total: number of units of work, where it is known.
      description: what the work is.
      unit: what is counted.
      shown: whether to show anything at all.
      delay: seconds of work before anything is shown.
    """

    def __init__(
        self, total: int | None, description: str, unit: str, shown: bool = True, delay: float = 0.0
    ):
        self._total, self._description, self._unit = total, description, unit
        self._done, self._printed = 0, time.monotonic()
        self._quiet_until = self._printed + delay
        on_terminal = shown and sys.stderr.isatty()
        self._plain = shown and not on_terminal
        self._bar = tqdm(
            total=total, desc=description, unit=unit, disable=not on_terminal, delay=delay
        )

    def update(self, amount: int = 1, note: str = "") -> None:
        """Counts `amount` units as done; `note` says how the work stands."""
        self._done += amount
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)
        now = time.monotonic()
        is_late = now - self._printed > _SECONDS_BETWEEN_LINES
        is_due = (is_late or self._done == self._total) and now >= self._quiet_until
        if self._plain and is_due:
            self._printed = now
            done = self._done if self._total is None else f"{self._done}/{self._total}"
            line = f"{self._description}: {done} {self._unit}"
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
