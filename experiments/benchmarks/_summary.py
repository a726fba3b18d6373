"""One table of all ratios, with their targets, on every device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ._measured import Claim, Measured, Table
from .reports import REPORTS


def summary(
    columns: Mapping[str, Sequence[Measured]],
    names: Sequence[str] = tuple(REPORTS),
    failures: Mapping[str, str] | None = None,
) -> Table:
    """A row per benchmark, case and other contestant; a column per device.

    Args:
      columns: what was measured on each device, by the column's head.
      names: the benchmarks to show, of which each has a row at least.
      failures: why benchmarks of the last column came to no end, by their names.
    """
    cells: dict[tuple[str, str, str, str, str], dict[str, str]] = {}
    for name in names:
        for head, measured in columns.items():
            for one in measured:
                if one.benchmark != name:
                    continue
                for claim in (*REPORTS[name].claims(one.results), *absent(one)):
                    targets = (_target(claim.cpu), _target(claim.gpu))
                    key = (name, claim.case, claim.over, *targets)
                    cells.setdefault(key, {})[head] = claim.verdict(one.platform)
        reason = (failures or {}).get(name)
        if reason:
            cells[name, "", "", "", ""] = {list(columns)[-1]: reason}
        elif not any(key[0] == name for key in cells):
            cells[name, "", "", "", ""] = dict.fromkeys(columns, "not measured")
    rows = [(*key, *(row.get(head) for head in columns)) for key, row in cells.items()]
    return Table(("benchmark", "case", "time over that of", *_TARGETS, *columns), rows)


def absent(measured: Measured) -> Iterator[Claim]:
    """A claim without a ratio for every contestant that took no part, with the reason."""
    reasons = {
        name: reason
        for result in measured.results
        for name, reason in result.get("absent", {}).items()
    }
    for name, reason in reasons.items():
        yield Claim("", name, None, note=reason)


_TARGETS = ("target, CPU", "GPU")


def _target(bound: float | None) -> str:
    return "" if bound is None else f"{round(bound, 3):g}"
