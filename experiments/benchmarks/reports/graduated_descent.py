"""How the races of `graduated_descent` read."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, number, over, times_of

OURS, LOOP, NUMPY, TORCH = "jaxnoise", "NumPy loop", "NumPy, at once", "PyTorch, at once"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = [
        (
            result["case"].split(", ")[0],
            number(1e3 * statistics.median(times_of(result, OURS))),
            *(over(result, other, OURS) for other in (LOOP, NUMPY, TORCH)),
        )
        for result in results
    ]
    heads = ("μs per start", "NumPy loop over jaxnoise, target 100", NUMPY, TORCH)
    yield Table(("function", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        yield Claim(result["case"], LOOP, over(result, OURS, LOOP), 1 / 100, 1 / 1000)
