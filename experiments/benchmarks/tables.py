"""Writes the tables of the benchmarks into experiments/README.md, from the files in results/.

    python -m experiments.benchmarks.tables

What stands between `<!-- benchmark: NAME -->` and `<!-- end -->` is replaced; the prose around it
stays. NAME is a benchmark's, or `summary`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from experiments._common import write_text

from ._harness import RESULTS
from ._measured import Measured, load
from ._summary import summary
from .reports import REPORTS

README = Path(__file__).parents[1] / "README.md"

_BLOCK = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled_in(text: str, measured: Sequence[Measured]) -> str:
    """The text with every block as the measurements have it.

    Raises:
      ValueError: if a benchmark or the summary has no block.
    """
    named = {match[2] for match in _BLOCK.finditer(text)}
    for name in ("summary", *REPORTS):
        if name not in named:
            raise ValueError(
                f"no block for {name}: write <!-- benchmark: {name} --> and <!-- end --> around it"
            )

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_contents(match[2], measured)}\n\n{match[3]}"

    return _BLOCK.sub(block, text)


def by_device(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    columns: dict[str, list[Measured]] = {}
    for one in sorted(measured, key=lambda one: (one.platform, one.device)):
        columns.setdefault(one.device, []).append(one)
    return columns


def _contents(name: str, measured: Sequence[Measured]) -> str:
    if name == "summary":
        return summary(by_device(measured)).markdown()
    parts = []
    for devices in by_device(measured).values():
        for one in devices:
            if one.benchmark == name:
                tables = REPORTS[name].tables(one.results)
                parts += [_origin(one), *(table.markdown() for table in tables if table.rows)]
                picture = one.path.with_suffix(".png")
                if picture.exists():
                    parts.append(f"![{name}]({picture.relative_to(README.parent).as_posix()})")
    return "\n\n".join(parts) if parts else "Not measured yet."


def _origin(one: Measured) -> str:
    """Where, when, with what and for how long."""
    versions = one.environment["versions"]
    used = ("python", "jax", "flax", "optax", "torch")
    packages = [f"{package} {versions[package]}" for package in used if versions.get(package)]
    rounds = max(len(r["times"]) for race in one.results for r in race["contestants"].values())
    time = "" if one.seconds is None else f", {one.seconds / 60:.1f} minutes"
    day = one.environment["date"].split("T")[0]
    return f"{one.device}; {', '.join(packages)}; {day}, {rounds} rounds{time}:"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    write_text(README, filled_in(text, load(RESULTS)))
