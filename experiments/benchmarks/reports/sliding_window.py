"""How the races of `sliding_window` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import Claim, Result, Table, megabytes, milliseconds, over

HOST, DEVICE, ALONE = "from the host", "on the device", "windows alone"
LOOP, MONAI = "PyTorch loop", "MONAI"
GROWTH = "growth"


def tables(results: Sequence[Result]) -> Iterator[Table]:
    for result in results:
        heads = ["ms per window", f"time over {result['peer']}'s", "peak memory, MB"]
        rows = [
            (name, milliseconds(result, name), over(result, name, result["peer"]), memory)
            for name in result["contestants"]
            for memory in [megabytes(result, name)]
        ]
        first = "volume" if _grows(result) else ""
        yield Table((first, *heads), rows, f"{result['case']}:")


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        if not _grows(result):
            ratio = over(result, HOST, MONAI)
            if ratio:
                yield Claim(result["case"], MONAI, ratio, 1, 1 / 1.5)
            yield Claim(result["case"], LOOP, over(result, HOST, LOOP))


def _grows(result: Result) -> bool:
    return result["case"].endswith(GROWTH)
