"""Stages by which the noise decays: through the learning rate, the batch size, or both."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from .._checks import check_count, check_numbers
from ._noise import NoiseStage


def noise_stages(
    method: Literal["constant", "decay_lr", "grow_batch", "hybrid"],
    *,
    learning_rate: Any,
    batch_size: int,
    num_stages: int,
    epochs_per_stage: int,
    decay: float,
    batch_growth: float | None = None,
) -> tuple[NoiseStage, ...]:
    """Stages in which the degree of smoothing decays by the same factor each time.

        η_{m+1} = κ η_m,   b_{m+1} = λ b_m,   κ/√λ = γ = decay,   κ ≤ 1 ≤ λ

        constant     κ = 1       λ = 1             γ = 1, whatever decay is
        decay_lr     κ = γ       λ = 1
        grow_batch   κ = 1       λ = 1/γ²
        hybrid       κ = γ√λ     λ = batch_growth

    Batch sizes are λᵐb rounded down, so that γ is met up to rounding; products that are whole but
    for the errors of floating point count as whole.

    Args:
      method: which of η and b changes.
      learning_rate: η of the first stage.
      batch_size: b of the first stage.
      num_stages: number of stages, at least 1.
      epochs_per_stage: epochs of each.
      decay: γ, in (0, 1].
      batch_growth: λ of "hybrid", in [1, 1/γ²]; None takes 1.5. The other methods have theirs, and
        refuse one that differs.

    Returns:
      The stages, for `jn.training.fit` or `stage_schedule`.

    Raises:
      ValueError: if the method is unknown or a number is out of range.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, algorithm 3 and figures
      10–12 (methods 1–4, with decay 1/√2).

    Example:
      >>> import jaxnoise as jn
      >>> stages = jn.schedules.noise_stages("hybrid", learning_rate=0.1, batch_size=32,
      ...     num_stages=5, epochs_per_stage=40, decay=2**-0.5)
      >>> [(round(stage.learning_rate, 4), stage.batch_size) for stage in stages]
      [(0.1, 32), (0.0866, 48), (0.075, 72), (0.065, 108), (0.0562, 162)]
    """
    check_numbers(decay, "decay")
    if batch_growth is not None:
        check_numbers(batch_growth, "batch_growth")
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be in (0, 1], got {decay}")
    check_count(num_stages, "num_stages")
    growths = {
        "constant": 1.0,
        "decay_lr": 1.0,
        "grow_batch": decay**-2,
        "hybrid": 1.5 if batch_growth is None else batch_growth,
    }
    if method not in growths:
        raise ValueError(f"method must be one of {', '.join(growths)}, got {method!r}")
    growth = growths[method]
    if batch_growth is not None and not math.isclose(batch_growth, growth):
        raise ValueError(
            f"batch_growth of {method!r} is {growth:g}, got {batch_growth}: leave it out, or take "
            "'hybrid'"
        )
    factor = 1.0 if method in ("constant", "grow_batch") else decay * math.sqrt(growth)
    if growth < 1 or factor > 1 + 1e-9:
        raise ValueError(
            f"batch_growth must be in [1, 1/decay² = {decay**-2:g}], or the learning rate would "
            f"grow, got {growth:g}"
        )
    first = NoiseStage(epochs_per_stage, learning_rate, batch_size)
    return tuple(
        dataclasses.replace(
            first,
            learning_rate=learning_rate * min(factor, 1.0) ** m,
            batch_size=whole(first.batch_size * growth**m),
        )
        for m in range(num_stages)
    )


def whole(x: float) -> int:
    """⌊x⌋, but the next whole number where floating point just misses it."""
    return math.floor(x * (1 + 1e-9))
