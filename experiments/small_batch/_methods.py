"""The optimizers that are compared: each is the base optimizer with parts of the algorithm."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

import jaxnoise as jn

from ._config import Family

MOMENTUM = 0.9
BASE = {"sgd": "SGD", "adam": "Adam"}


@dataclasses.dataclass(frozen=True)
class Method:
    """What of the algorithm an optimizer has.

    Attributes:
      name: for tables; {base} stands for the base optimizer.
      pull: "constant" λ, as in the "reference" code, or none.
      inner: whether the learning rate is divided by k + 1.
      by_epoch: whether every epoch starts with a new anchor.
      rate: "own" learning rate, the "mean" step of the algorithm, or the "best" of a grid.
    """

    name: str
    pull: str | None = None
    inner: bool = False
    by_epoch: bool = False
    rate: str = "own"

    @property
    def has_period(self) -> bool:
        """Whether S matters."""
        return bool(self.pull) or self.inner or self.rate == "mean"


METHODS = {
    "base": Method("{base}"),
    "paper": Method("TR{base}, paper form", "constant", inner=True),
    "reference": Method("TR{base}, reference form", "reference", inner=True, by_epoch=True),
    "pull": Method("pull of the paper form alone", "constant"),
    "reference_pull": Method("pull of the reference form alone", "reference", by_epoch=True),
    "schedule": Method("inner schedule alone", inner=True),
    "mean_step": Method("{base} at the mean step", rate="mean"),
    "best_rate": Method("{base} at its best rate", rate="best"),
    "paper_best": Method("TR{base}, paper form, at its best rate", "constant", True, rate="best"),
    "reference_best": Method(
        "TR{base}, reference form, at its best rate", "reference", True, True, rate="best"
    ),
}
FORMS = {"paper": "pull", "reference": "reference_pull"}  # form → its pull alone
# What is searched for its best rate → the same at its own.
AT_OWN_RATE = {"best_rate": "base", "paper_best": "paper", "reference_best": "reference"}


def name_of(method: str, family: str) -> str:
    return METHODS[method].name.format(base=BASE[family])


def mean_step(period: int) -> float:
    """(1/S) Σ 1/(k + 1), k = 0…S − 1: the mean of the inner steps over the learning rate."""
    return float(np.mean(1 / np.arange(1, period + 1)))


@functools.cache
def optimizer(
    method: Method, family: Family, weight_decay: float, epoch_length: int | None
) -> Callable[..., optax.GradientTransformation]:
    """The function that makes the optimizer.

    It takes the schedule, relative to the learning rate, and by keyword learning rate, weight and
    period, which may be traced: one compiled program serves all their values.

    Args:
      method: which parts it has.
      family: of the base optimizer.
      weight_decay: ρ.
      epoch_length: steps per epoch, where the method renews its anchor by epoch.
    """

    def base(
        schedule: optax.Schedule, *, learning_rate: Any, weight: Any, period: Any
    ) -> optax.GradientTransformation:
        plain = {"sgd": lambda lr: optax.sgd(lr, MOMENTUM), "adam": optax.adam}[family]
        rate = scaled(schedule, learning_rate)
        return optax.chain(optax.add_decayed_weights(weight_decay), plain(rate))

    def regularized(
        schedule: optax.Schedule, *, learning_rate: Any, weight: Any, period: Any
    ) -> optax.GradientTransformation:
        pulls = {
            None: 0.0,
            "constant": weight,
            "reference": jn.transforms.reference_weight(schedule, weight),
        }
        make = {"sgd": jn.transforms.trsgd, "adam": jn.transforms.tradam}[family]
        return make(
            scaled(schedule, learning_rate),
            weight=pulls[method.pull],
            period=period,
            weight_decay=weight_decay,
            inner_schedule="harmonic" if method.inner else "constant",
            epoch_length=epoch_length,
        )

    return regularized if method.pull or method.inner else base


def scaled(schedule: optax.Schedule, learning_rate: Any) -> optax.Schedule:
    return lambda count: learning_rate * schedule(count)
