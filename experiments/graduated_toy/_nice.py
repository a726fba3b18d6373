"""Whether the functions are nice, in the old sense and the new, on samples in few dimensions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from .._common import say
from ._config import Plan
from ._descend import ball_delta
from ._methods import Method, methods_of
from ._problems import CASES

DIMENSIONS = (1, 2)
RADIUS_FACTOR = 2.0  # d_m, the radius in units of δ_m within which convexity is asked for


def reports(name: str, dimension: int, plan: Plan) -> dict[str, Any]:
    """Decay → what a report on the function says."""
    say(f"is {name} nice in {dimension} dimensions?")
    return {short: summary(name, dimension, method) for short, method in sequences(plan).items()}


def sequences(plan: Plan) -> dict[str, Method]:
    """The sequences of degrees of smoothing that are looked at."""
    graduated = {n: m for n, m in methods_of(plan).items() if m.kind == "smoothed"}
    return {name: graduated[name] for name in ("p = 0.5", "halving") if name in graduated}


def summary(name: str, dimension: int, method: Method) -> dict[str, Any]:
    case = CASES[name]
    deltas = ball_delta(case, dimension) * np.asarray(method.fading)
    report = jn.smoothing.nice_report(
        jax.random.key(0),
        case.problem.function,
        deltas,
        jnp.asarray(case.problem.minimizer(dimension), jnp.float32),
        radius_factors=RADIUS_FACTOR,
        num_samples=1024,
        num_points=128,
        num_starts=4,
    )
    return {
        "deltas": report.deltas,
        "follows": report.follows,
        "is_convex": report.is_convex,
        "is_within_delta": report.is_within_delta,
        "distances": report.distances,
        "convexity": report.convexity,
        "convex_radii": report.convex_radii,
        "is_new_nice": bool(report.is_new_nice),
        "is_nice": bool(report.is_nice),
    }
