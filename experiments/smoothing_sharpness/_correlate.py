"""Rank correlations with bootstrap intervals over runs, and a test for a single hump."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import stats

from .._common import LEVEL

RESAMPLES = 1000
BINS = 6


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and the ends of its bootstrap interval, of 95 %; all NaN where there is none."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        """From (1 + R,) values, the first of all runs, the others of resamples."""
        if np.isnan(values[1:]).all():
            return cls(float(values[0]))
        ends = np.nanpercentile(values[1:], [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
        return cls(float(values[0]), *map(float, ends))

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclasses.dataclass(frozen=True)
class Correlation:
    """How two quantities go together over the runs.

    Attributes:
      num: number of runs.
      kendall: τ_b.
      spearman: ρ.
      within: τ_b over the pairs of runs of the same group alone.
      partial: τ_b with what both have in common with a third quantity taken out.
    """

    num: int
    kendall: Estimate = Estimate()
    spearman: Estimate = Estimate()
    within: Estimate = Estimate()
    partial: Estimate = Estimate()


def correlate(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray | None = None,
    given: np.ndarray | None = None,
) -> Correlation:
    """The correlations of x and y, with bootstrap intervals over runs.

    Args:
      x, y: (runs,) values; runs where one is NaN are left out.
      groups: (runs,) group of each run; None for no look within.
      given: (runs,) third quantity; None for none.
    """
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    n = len(x)
    if n < 3 or not (np.ptp(x) and np.ptp(y)):
        return Correlation(n)
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    counts = np.concatenate([np.ones((1, n), int), counts])
    found = {"kendall": kendall(x, y, counts), "spearman": spearman(x, y, counts)}
    if groups is not None:
        found["within"] = kendall(x, y, counts, groups[there][:, None] == groups[there])
    if given is not None:
        found["partial"] = partial_kendall(x, y, given[there], counts)
    return Correlation(n, **{name: Estimate.of(values) for name, values in found.items()})


def kendall(
    x: np.ndarray, y: np.ndarray, counts: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """τ_b of samples in which run i stands c_i times: with s_ij = sign(x_i − x_j), t_ij of y,

        τ_b = Σ c_i c_j s_ij t_ij / √(Σ c_i c_j s_ij² · Σ c_i c_j t_ij²)

    Args:
      x: (n,) one quantity.
      y: (n,) the other.
      counts: (R, n) c of each sample.
      mask: (n, n) which pairs count; None for all.
    """
    s, t = signs(x), signs(y)
    if mask is not None:
        s, t = s * mask, t * mask

    def pairs(of: np.ndarray) -> np.ndarray:
        return np.sum((counts @ of) * counts, axis=1)

    with np.errstate(invalid="ignore"):
        return pairs(s * t) / np.sqrt(pairs(s**2) * pairs(t**2))


def partial_kendall(x: np.ndarray, y: np.ndarray, z: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(τ_xy − τ_xz τ_yz) / √((1 − τ_xz²)(1 − τ_yz²)) of samples as in `kendall`."""
    xy, xz, yz = (kendall(a, b, counts) for a, b in ((x, y), (x, z), (y, z)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """ρ of samples in which run i stands c_i times; Σ_j c_j s_ij is twice its centred rank."""
    ranks_x, ranks_y = (counts @ signs(v).T for v in (x, y))

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sum(counts * a * b, axis=1)

    with np.errstate(invalid="ignore"):
        return product(ranks_x, ranks_y) / np.sqrt(
            product(ranks_x, ranks_x) * product(ranks_y, ranks_y)
        )


def signs(v: np.ndarray) -> np.ndarray:
    return np.sign(v[:, None] - v)


def hump(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Whether y has one hump over x > 0.

    By a quadratic in log₁₀ x, whose curvature must be negative (t-test) and whose vertex within the
    data; and by bins of equal width in log₁₀ x, the best of which must lie above the first and the
    last one (one-sided Mann–Whitney test). As the best bin is chosen by the same numbers, the
    latter alone is too easily satisfied: both must hold.

    Args:
      x, y: (runs,) values, NaN where missing.

    Returns:
      "num", the number of runs; "curvature", "curvature_p", "vertex" (an x, NaN where y is not
      curved downwards); "bins" (mean x, mean y and number of runs of each, in order), "best" (its
      place among them), "first_p", "last_p"; "is_hump". Nothing where there are fewer than two runs
      a bin, or a quantity hardly varies.
    """
    there = np.isfinite(x) & np.isfinite(y) & (x > 0)
    z, y = np.log10(x[there]), y[there]
    if len(z) < 2 * BINS or not np.ptp(y) or len(np.unique(z)) < 3:
        return {}
    coefficients, covariance = np.polyfit(z, y, 2, cov=True)
    t = coefficients[0] / np.sqrt(covariance[0, 0])
    p = float(2 * stats.t.sf(abs(t), len(z) - 3))
    middle = -coefficients[1] / (2 * coefficients[0]) if coefficients[0] < 0 else np.nan
    place = np.digitize(z, np.linspace(z.min(), z.max(), BINS + 1)[1:-1])
    bins = [(z[place == k], y[place == k]) for k in np.unique(place)]
    best = int(np.argmax([values.mean() for _, values in bins]))
    first_p, last_p = (
        float(stats.mannwhitneyu(bins[best][1], bins[end][1], alternative="greater").pvalue)
        for end in (0, -1)
    )
    is_curved = bool(p < LEVEL and z.min() < middle < z.max())
    return {
        "num": len(z),
        "curvature": float(coefficients[0]),
        "curvature_p": p,
        "vertex": float(10**middle),
        "bins": [(float(10 ** x.mean()), float(y.mean()), len(y)) for x, y in bins],
        "best": best,
        "first_p": first_p,
        "last_p": last_p,
        "is_hump": is_curved and 0 < best < len(bins) - 1 and max(first_p, last_p) < LEVEL,
    }
