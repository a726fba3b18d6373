"""How the races of `convolution` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, by_kind, over

PEER, LOOP, ALONE, XLA = "PyTorch", "in a loop", "by itself", "XLA's, in a loop"
FORWARD, GRADIENTS = "forward", "both gradients"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = [
        (layer, *(over(kinds.get(k), way, PEER) for k in (FORWARD, GRADIENTS) for way in _WAYS))
        for layer, kinds in by_kind(results).items()
    ]
    heads = (f"{kind} {way}" for kind in (FORWARD, "with gradients") for way in _WAYS)
    yield Table(("layer", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        if "transposed" in result["case"]:
            yield Claim(f"{result['case']}, {LOOP}", PEER, over(result, LOOP, PEER), 1.3, 1)


_WAYS = (LOOP, ALONE)
