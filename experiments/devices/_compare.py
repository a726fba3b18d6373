"""What more devices bring beside one, and whether they find the same."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from .._common import Table
from ._config import Piece
from ._measure import SECONDS
from ._pieces import TOLERANCES


def compared(piece: Piece, alone: dict[str, np.ndarray], spread: dict[str, np.ndarray]) -> Any:
    """Seconds, speed-up and the largest difference from what one device found."""
    seconds, ours = (statistics.median(found[SECONDS].tolist()) for found in (alone, spread))
    difference = largest_difference(alone, spread)
    return {
        "seconds": ours,
        "rounds": spread[SECONDS],
        "speed_up": seconds / ours,
        "difference": difference,
        "tolerance": TOLERANCES[piece],
        "agrees": bool(difference <= TOLERANCES[piece]),
    }


def largest_difference(alone: dict[str, np.ndarray], spread: dict[str, np.ndarray]) -> float:
    """max |a − b| / max |a| of each array, the largest; ∞ where shapes or finiteness differ."""
    shapes = [
        {name: found[name].shape for name in found.keys() - {SECONDS}} for found in (alone, spread)
    ]
    if shapes[0] != shapes[1]:
        return float("inf")
    names = shapes[0]
    found = [_difference(alone[name], spread[name]) for name in names]
    return max(found) if np.isfinite(found).all() else float("inf")


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (np.asarray(x, float) for x in (a, b))
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny))


def disagreements(rows: dict[Piece, dict[int, dict[str, Any]]]) -> list[str]:
    """Which pieces found something else on more devices."""
    return [
        f"{piece} on {count} devices by {row['difference']:.2g}, more than {row['tolerance']:.0e}"
        for piece, by_count in rows.items()
        for count, row in by_count.items()
        if not row["agrees"]
    ]


def table_of(rows: dict[Piece, dict[int, dict[str, Any]]]) -> Table:
    counts = list(next(iter(rows.values())))
    header = ["work", "seconds on 1", *(f"speed-up on {count}" for count in counts[1:])]
    body = []
    for piece, by_count in rows.items():
        worst = max(row["difference"] for row in by_count.values())
        body.append(
            [
                piece,
                f"{by_count[1]['seconds']:.2f}",
                *(f"{by_count[count]['speed_up']:.2f}" for count in counts[1:]),
                f"{worst:.1e}",
                f"{TOLERANCES[piece]:.0e}",
            ]
        )
    return [*header, "largest difference", "tolerance"], body
