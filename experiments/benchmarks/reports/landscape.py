"""How the races of `landscape` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, fastest, milliseconds, over

OURS = "jaxnoise"
PEERS = ("PyTorch loop", "Landscaper", "loss-landscapes")
GROWTH, FLOOR = "growth", "forward passes"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = [
        (
            case,
            grid.removesuffix(" points"),
            milliseconds(result, OURS),
            over(result, OURS, result["peer"]),
            *(over(result, peer, OURS) for peer in PEERS),
        )
        for case, grid, result in _races(results)
    ]
    heads = ("ms per point", "over the floor, target 1.15", "PyTorch loop over jaxnoise")
    yield Table(("network", "grid", *heads, *PEERS[1:]), rows)
    rows = []
    for result in results:
        network, _, kind = result["case"].rpartition(", ")
        if kind == GROWTH:
            first, *_, last = result["contestants"]
            rows.append((network, first, last, over(result, last, first)))
    yield Table(
        ("network", "small grid", "large grid", "time per point, over the small grid's"),
        rows,
        "As the grid grows:",
    )


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for case, grid, result in _races(results):
        case = f"{case}, {grid}"
        yield Claim(case, FLOOR, over(result, OURS, result["peer"]), 1.15, 1.15)
        best = fastest(result, OURS, PEERS)
        if best:
            yield Claim(case, "fastest peer", best[1], 1 / 1.3, 1 / 2, best[0])


def _races(results: Sequence[Result]) -> Iterator[tuple[str, str, Result]]:
    """(network and examples, grid, result) of the races against peers."""
    for result in results:
        case, _, grid = result["case"].rpartition(", ")
        if grid != GROWTH:
            yield case, grid, result
