"""The optimizers that are compared, all of them TRAdam with other hyper-parameters.

With S = 1 there is an anchor at every step, nothing pulls, and TRAdam is Adam to the last bit. So
one compiled program trains them all.
"""

from __future__ import annotations

import numpy as np
import optax

import jaxnoise as jn

from ._config import Plan

METHODS = {
    "adam": "Adam",
    "paper": "TRAdam",
    "reference": "TRAdam, authors' form",
    "mean_step": "Adam at the mean step",
}
_NEVER = np.iinfo(np.int32).max


def tradam(
    schedule: optax.Schedule, *, factor, weight, period, epoch_length
) -> optax.GradientTransformation:
    """TRAdam at `factor` times the scheduled learning rate, with β₁ = 0.5."""
    return jn.transforms.tradam(
        lambda step: factor * schedule(step),
        b1=0.5,
        weight=weight,
        period=period,
        epoch_length=epoch_length,
    )


def hyperparams(method: str, plan: Plan, epoch_length: int) -> dict[str, float]:
    """What makes `tradam` one of `METHODS`; either player takes the same.

    At a constant learning rate the pull of the authors' form, `jn.transforms.reference_weight`, is
    twice that of the paper.
    """
    adam = {"factor": 1.0, "weight": 0.0, "period": 1, "epoch_length": _NEVER}
    paper = adam | {"weight": plan.weight, "period": plan.period}
    return {
        "adam": adam,
        "paper": paper,
        "reference": paper | {"weight": 2 * plan.weight, "epoch_length": epoch_length},
        "mean_step": adam | {"factor": mean_step(plan.period)},
    }[method]


def mean_step(period: int) -> float:
    """The mean of 1/(k + 1) over a cycle, H_S/S."""
    return float(np.mean(1 / np.arange(1, period + 1)))
