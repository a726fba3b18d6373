"""How the races of `sharpness` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, milliseconds, over

OURS, LOOP, GRADIENTS = "jaxnoise", "PyTorch loop", "gradients"
HOST, DEVICE = "L-BFGS-B", "on the device"
ADAPTIVE, BOX, EIGENVALUE = "adaptive", "box", "eigenvalue"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = []
    for result in results:
        network, examples, *asked = result["case"].split(", ")
        ours = DEVICE if asked[0] == BOX else OURS
        rows.append(
            (
                f"{network}, {examples}",
                ", ".join(asked),
                milliseconds(result, ours),
                over(result, ours, GRADIENTS),
                over(result, LOOP, ours),
                over(result, HOST, ours),
            )
        )
    heads = ("over the gradients alone", "PyTorch loop over jaxnoise", "L-BFGS-B over jaxnoise")
    yield Table(("network", "asked", "ms", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        if f", {ADAPTIVE}" in result["case"]:
            yield Claim(result["case"], LOOP, over(result, OURS, LOOP), 1 / 2, 1 / 5)
