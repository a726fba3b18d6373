"""How the races of `models` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, by_kind, milliseconds, over

EPOCH, SINGLE, JITTED = "epoch program", "single steps", "jitted"
PEER, COMPILED = "PyTorch", "PyTorch, compiled"
FORWARD, TRAINING = "forward", "training step"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = []
    for network, kinds in by_kind(results).items():
        step = kinds.get(TRAINING)
        rows.append(
            (
                network,
                over(kinds.get(FORWARD), JITTED, PEER),
                over(step, EPOCH, PEER),
                over(step, SINGLE, PEER),
                milliseconds(step, PEER),
            )
        )
    heads = ("forward", "step in the epoch program", "step by itself", "PyTorch's step, ms")
    yield Table(("network", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for network, kinds in by_kind(results).items():
        step = kinds.get(TRAINING)
        case = f"{network}, {TRAINING}"
        compiled = over(step, EPOCH, COMPILED)
        if "ResNet18" in network and "batch 8" in network:
            yield Claim(case, PEER, over(step, EPOCH, PEER), 1, 1 / 5)
        elif "UNet" in network or "U-Net" in network:
            yield Claim(case, PEER, over(step, EPOCH, PEER), 1.3, 1)
        if compiled:
            yield Claim(case, COMPILED, compiled)
        if "batch 8" in network:
            yield Claim(case, SINGLE, over(step, EPOCH, SINGLE), 1, 1 / 1.5)
