"""A self-contained HTML page of text, tables and figures."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxnoise._results import whole_file

from ._run_folder import write_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem }
th, td { border-bottom: 1px solid #ccc; padding: 0.3rem 0.8rem; text-align: right }
th:first-child, td:first-child { text-align: left }
th { border-bottom: 2px solid #666 }
img { max-width: 100% }
figure { margin: 1rem 0 }
figcaption { color: #555; font-size: 0.9rem }
code { background: #f3f3f3; padding: 0.1rem 0.3rem }
"""


class Report:
    """Collects sections and writes them as one HTML file with everything embedded."""

    def __init__(self, title: str):
        self._title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def code(self, text: str) -> None:
        self._parts.append(f"<p><code>{html.escape(text)}</code></p>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        def line(cells: Sequence[object], tag: str) -> str:
            return (
                "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"
            )

        body = "\n".join(line(row, "td") for row in rows)
        self._parts.append(f"<table>\n{line(header, 'th')}\n{body}\n</table>")

    def figure(self, figure: Figure, caption: str) -> None:
        data = base64.b64encode(_png(figure, dpi=110)).decode()
        self._parts.append(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )

    def provenance(
        self, script: str, settings: dict[str, Any], where: dict[str, Any], seconds: float
    ) -> None:
        """The command, its time and machine, all settings that have a value, and the versions."""
        self.code(f"python -m experiments.{script} " + " ".join(sys.argv[1:]))
        self.text(
            f"This run took {seconds:.0f} s, without what it read back, on {where['device']}, "
            f"{where['processor']}."
        )
        self.table(["setting", "value"], [row for row in settings.items() if row[1] is not None])
        self.table(["package", "version"], list(where["versions"].items()))

    def save(self, path: Path) -> None:
        title = html.escape(self._title)
        body = "\n".join(self._parts)
        page = (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
        )
        write_text(path, page)


def save_picture(path: Path, figure: Figure) -> None:
    """Writes a figure as a small PNG file, fit for a README."""
    with whole_file(path) as file:
        file.write(_png(figure, dpi=72))


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def mean_and_std(values: object, digits: int = 3) -> str:
    """Numbers over seeds as "mean ± standard deviation"; of a single one only itself."""
    numbers = np.atleast_1d(np.asarray(values, float))
    mean = f"{numbers.mean():.{digits}g}"
    if numbers.size == 1:
        return mean
    return f"{mean} ± {numbers.std(ddof=1):.2g}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The table as aligned plain text."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        text.append("  ".join([first.strip().ljust(widths[0]), *others]))
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)
