"""Means over seeds beside their bound, and what is fitted to them."""

from __future__ import annotations

from typing import Any

import numpy as np

_ROUNDING = 1e-5  # of a mean that equals its bound, as the sharp ones do at k = 0


def records_of(num_steps: int) -> np.ndarray:
    """Numbers of the iterates that are looked at: dense at the start, even in the second half."""
    early = np.geomspace(1, num_steps, 60).round()
    late = np.linspace(num_steps // 2, num_steps, 60).round()
    return np.unique(np.concatenate([[0, num_steps], early, late])).astype(int)


def running_mean(values: np.ndarray, weights: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Σ_{i≤k} w_i v_i / Σ_{i≤k} w_i at each record k, where between records v is linear.

    Args:
      values: (…, M) at the records.
      weights: (M,) at the records.
      records: (M,) rising, from 0.
    """

    def sums(v: np.ndarray) -> np.ndarray:
        between = np.diff(records) * (v[..., 1:] + v[..., :-1]) / 2
        inside = np.concatenate([np.zeros_like(v[..., :1]), np.cumsum(between, -1)], -1)
        return inside + (v[..., :1] + v) / 2

    return sums(values * weights) / sums(np.asarray(weights, float))


def row_of(
    name: str,
    records: np.ndarray,
    values: np.ndarray,
    bound: Any,
    *,
    sharp: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """The curve of one setting beside its bound.

    Args:
      name: of the setting.
      records: (M,) numbers of steps.
      values: (S, M) what is bounded, of each seed.
      bound: (M,) on the mean over seeds.
      sharp: (M,) a sharper bound, or None.
      settings: step size, batch size and what else tells the settings apart.

    Returns:
      Curves and, as numbers, whether the bound holds at every record, the largest ratio of mean to
      bound, and that at the end.
    """
    mean, bound = values.mean(0), np.asarray(bound, float)
    many = len(values) > 1
    ratio, sharp_ratio = mean / bound, mean / (bound if sharp is None else np.asarray(sharp, float))
    return {
        "name": name,
        **settings,
        "records": records,
        "mean": mean,
        "error": values.std(0, ddof=1) / np.sqrt(len(values)) if many else np.zeros_like(mean),
        "bound": bound,
        "sharp": sharp,
        "final_by_seed": values[:, -1],
        "holds": bool(max(ratio.max(), sharp_ratio.max()) <= 1 + _ROUNDING),
        "largest_ratio": float(ratio.max()),
        "largest_sharp_ratio": float(sharp_ratio.max()),
        "last_ratio": float(ratio[-1]),
    }


def slope_of(x: Any, values: np.ndarray) -> dict[str, float]:
    """The exponent p of mean values ∝ xᵖ, by least squares of logarithms.

    Args:
      x: (G,) positive.
      values: (S, G), whose means over seeds are fitted; seeds are independent.

    Returns:
      "slope" and its standard error "error", by the jackknife over seeds; NaN with a single seed.
    """
    away = np.log(x) - np.log(x).mean()

    def fitted(means: np.ndarray) -> np.ndarray:
        return np.log(means) @ away / (away @ away)

    num = len(values)
    without = fitted((values.sum(0) - values) / max(num - 1, 1)) if num > 1 else np.array([np.nan])
    spread = np.sum((without - without.mean()) ** 2) * (num - 1) / num
    error = np.sqrt(spread) if num > 1 else np.nan
    return {"slope": float(fitted(values.mean(0))), "error": float(error)}
