"""The methods that are compared: how they smooth, and how smoothing fades from stage to stage."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

import jaxnoise as jn

from ._config import Plan

Kind = Literal["plain", "noise", "smoothed"]


@dataclasses.dataclass(frozen=True)
class Method:
    """How a method goes through its stages.

    Attributes:
      name: for tables.
      kind: "plain" descends on f, "noise" with noise in the gradient, "smoothed" on sampled f̂_δ.
      fading: (M,) δ_m/δ_1, the stages' degrees of smoothing over the first.
    """

    name: str
    kind: Kind
    fading: tuple[float, ...]


def methods_of(plan: Plan) -> dict[str, Method]:
    """All methods by a short name."""
    constant = (1.0,) * plan.stages
    half = _polynomial(0.5, plan)
    graduated = {f"p = {power:g}": _polynomial(power, plan) for power in plan.powers}
    graduated |= {"halving": _geometric(0.5, plan), "tenths": _geometric(0.1, plan)}
    return {
        "descent": Method("gradient descent", "plain", (0.0,) * plan.stages),
        "sgd": Method("SGD, constant noise", "noise", constant),
        "sgd_fading": Method("SGD, noise fading with p = 0.5", "noise", half),
        **{
            name: Method(f"graduated descent, {name}", "smoothed", fading)
            for name, fading in graduated.items()
        },
    }


def rates_of_decay(method: Method) -> np.ndarray:
    """(M − 1,) γ_m; the last stage, after which δ = 0, isn't asked."""
    fading = np.asarray(method.fading)
    return fading[1:] / fading[:-1]


def is_admissible(method: Method, a: float) -> bool:
    """Whether all its decay rates lie between the lower bound for a and θ = 0, and 1."""
    gamma = rates_of_decay(method)
    return bool(((gamma > lower_bound(a) + ROUNDING) & (gamma < 1)).all())


def lower_bound(a: float, cos_theta: float = 1.0) -> float:
    return float(jn.schedules.admissible_decay(a, cos_theta))


ROUNDING = 1e-6


def _polynomial(power: float, plan: Plan) -> tuple[float, ...]:
    return tuple(jn.smoothing.polynomial_deltas(1.0, plan.stages, power).tolist())


def _geometric(ratio: float, plan: Plan) -> tuple[float, ...]:
    return tuple((ratio ** np.arange(plan.stages)).tolist())
