"""p_τ and M_τ as they are recorded, and the verdict about the claim."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

THRESHOLDS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
CURVE = tuple(10.0**exponent for exponent in np.linspace(-14, 2, 65))
CLAIM = 0.99


def vanishing_numbers(norms: jax.Array) -> dict[str, Any]:
    """p_τ and M_τ at the thresholds of the tables, p_τ along a curve, and the mean and maximum."""
    table = jn.gradients.vanishing(norms, jnp.array(THRESHOLDS))
    curve = jn.gradients.vanishing(norms, jnp.array(CURVE))
    return {
        "fraction": table.fraction,
        "tail_mean": table.tail_mean,
        "curve": curve.fraction,
        "mean": float(jnp.mean(norms)),
        "max": float(jnp.max(norms)),
    }


def by_name(rows: list[dict[str, Any]]) -> dict[str, list]:
    """Dicts of one seed each as one dict of lists over the seeds."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def claim(fraction: Any) -> list[float]:
    """The thresholds at which more than 99 % of the components vanish, for every seed.

    Args:
      fraction: (seeds, thresholds) of p_τ.
    """
    worst = np.min(np.asarray(fraction, float), axis=0)
    return [tau for tau, share in zip(THRESHOLDS, worst, strict=True) if share > CLAIM]
