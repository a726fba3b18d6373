"""How the race of `start_up` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, milliseconds, over

OURS, LIBRARIES = "jaxnoise", "jax, flax and optax"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = [
        (name, milliseconds(result, name), over(result, name, LIBRARIES))
        for result in results
        for name in result["contestants"]
    ]
    yield Table(("import of", "ms", f"over {LIBRARIES}"), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        yield Claim(result["case"], LIBRARIES, over(result, OURS, LIBRARIES), 1.2, 1.2)
