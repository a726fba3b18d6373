"""How the races of `growth` read: exponents of time, peaks of memory, and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from .._measured import Claim, Ratio, Result, Table, megabytes, number, spread, times_of


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = []
    for result in results:
        first, *_, last = result["contestants"]
        rows.append(
            (
                result["case"],
                f"{first} to {last}",
                exponent(result),
                megabytes(result, first),
                megabytes(result, last),
            )
        )
    heads = ("sizes", "exponent of time", "peak MB at the smallest", "at the largest")
    yield Table(("cost", *heads), rows)


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for result in results:
        yield Claim(result["case"], "exponent of time", exponent(result), 1.1, 1.1)


def exponent(result: Result) -> Ratio:
    """x of time ∝ size^x by least squares over the logarithms, one of each round."""
    sizes = [float(name) for name in result["contestants"]]
    times = np.array([times_of(result, name) for name in result["contestants"]])
    slopes, _ = np.polyfit(np.log(sizes), np.log(times), 1)
    return spread(slopes.tolist())


def draw(results: Sequence[Result]) -> Figure:
    """Time and peak memory of a call over the size, each case a line, all logarithmic."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for index, result in enumerate(results):
        sizes = np.array([float(name) for name in result["contestants"]])
        sizes /= sizes[0]
        rows = list(result["contestants"].values())
        label = f"{result['case']}: {number(exponent(result).median)}"
        style = {"marker": "o", "color": f"C{index}"}
        first = rows[0]["milliseconds"]
        times.plot(sizes, [row["milliseconds"] / first for row in rows], label=label, **style)
        peaks = [row["peak_memory_mb"] for row in rows]
        if all(peaks):  # zero has no place on a logarithmic axis
            memory.plot(sizes, peaks, **style)
    times.axline((1, 1), (2, 2), color="0.6", linestyle="--", label="in proportion")
    for axes, what in ((times, "time, over the smallest's"), (memory, "peak memory, MB")):
        axes.set(xscale="log", yscale="log", xlabel="size, over the smallest", ylabel=what)
        axes.grid(alpha=0.3)
    times.legend(title="exponent of time", fontsize="small")
    return figure
