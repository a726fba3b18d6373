"""The usual schedules: how fast they decay, and how fast they may (figures 4 to 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax

import jaxnoise as jn

from ._methods import ROUNDING, lower_bound

NUM_STEPS, RATE = 200, 0.1
REGIONS = ((2.0, 1.0), (10.0, 1.0), (10.0, 0.996))  # a, cos θ
POWERS = (0.1, 0.5, 0.9, 1.0, 2.0, 4.0, 8.0)
SIZES = (1.1, 2.0, 10.0)  # a, for random directions
DIMENSIONS = (1, 2, 3, 10, 100, 1000)


def schedules() -> dict[str, optax.Schedule]:
    """Those of the paper, with its numbers."""
    return {
        "constant": optax.constant_schedule(RATE),
        "step, ½ every 40": optax.exponential_decay(RATE, 40, 0.5, staircase=True),
        "exponential, 0.94": optax.exponential_decay(RATE, 1, 0.94),
        "cosine": optax.cosine_decay_schedule(RATE, NUM_STEPS),
        "cosine power, p = 10": jn.schedules.cosine_power(RATE, NUM_STEPS, 10.0),
        **{
            f"polynomial, p = {power:g}": optax.polynomial_schedule(RATE, 0.0, power, NUM_STEPS)
            for power in POWERS
        },
    }


def decay_table() -> dict[str, Any]:
    """When each schedule first leaves the admissible region, above and below.

    Returns:
      "first": schedule → the first step without decay, γ_t = 1, and those with γ_t at or below each
      region's lower bound, None where there is none. The last step before T isn't asked.
      "probability": (a, d) the share of random directions for which any decay is admissible.
    """
    bounds = [lower_bound(*region) for region in REGIONS]
    first = {}
    for name, schedule in schedules().items():
        gamma = np.asarray(jn.schedules.decay_rates(schedule, NUM_STEPS), float)[:-1]
        first[name] = [
            first_step(gamma >= 1),
            *(first_step(gamma <= bound + ROUNDING) for bound in bounds),
        ]
    a = np.array(SIZES)[:, None]
    return {
        "regions": REGIONS,
        "bounds": bounds,
        "first": first,
        "dimensions": DIMENSIONS,
        "sizes": SIZES,
        "probability": jn.schedules.admissible_probability(a, np.array(DIMENSIONS)),
    }


def first_step(is_outside: np.ndarray) -> int | None:
    return int(np.argmax(is_outside)) if is_outside.any() else None
