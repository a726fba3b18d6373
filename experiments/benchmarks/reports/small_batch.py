"""How the races of `small_batch` read."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, milliseconds, number, over, times_of

SGD, ADAM, TRSGD, TRADAM = "optax.sgd", "optax.adam", "TRSGD", "TRAdam"
FLOOR = "memory floor"
SEPARATE, MAPPED, VMAPPED = "separate runs", "one after another", "side by side"
UPDATE = "update"
BATCH_SIZE = 8


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = [
        (
            result["case"].removeprefix(f"{UPDATE}, "),
            milliseconds(result, SGD),
            over(result, TRSGD, SGD),
            over(result, TRADAM, ADAM),
            over(result, TRSGD, FLOOR),
        )
        for result in results
        if _is_update(result)
    ]
    heads = ("optax.sgd, ms", "TRSGD over it", "TRAdam over optax.adam", "TRSGD over the floor")
    yield Table(("update of", *heads), rows)
    rows = [
        (
            result["case"],
            *(_examples(result, name) for name in (SEPARATE, MAPPED, VMAPPED)),
            over(result, SEPARATE, VMAPPED),
        )
        for result in results
        if not _is_update(result)
    ]
    heads = (SEPARATE, MAPPED, VMAPPED, "speed-up of the last")
    yield Table(("examples per second", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        case = result["case"]
        if _is_update(result):
            yield Claim(case, SGD, over(result, TRSGD, SGD), 1.5)
            yield Claim(case, FLOOR, over(result, TRSGD, FLOOR), None, 1.25)
        else:
            target = 1 / 2 if "ResNet18" in case else None
            yield Claim(f"{case}, {VMAPPED}", SEPARATE, over(result, VMAPPED, SEPARATE), gpu=target)


def _is_update(result: Result) -> bool:
    return result["case"].startswith(UPDATE)


def _examples(result: Result, name: str) -> str:
    """Of all replicas together; a unit of work is one step of one of them."""
    return number(1e3 * BATCH_SIZE / statistics.median(times_of(result, name)))
