"""The cosine schedule, bent by a power."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from .._checks import check_numbers
from .._tree import is_concrete


def cosine_power(
    init_value: Any, transition_steps: Any, power: Any, end_value: Any = 0.0
) -> optax.Schedule:
    """The cosine schedule as an exponent, which spends more of its steps near the end value.

        η_t = η_end + (η_0 − η_end) (pᶜ − 1)/(p − 1),   c = ½(1 + cos(πt/T))

    As p → 1 it tends to the cosine itself; p > 1 falls earlier, p < 1 later. The formula is
    evaluated so that nothing cancels for p near 1, or near the end. The other schedules of the
    paper are `optax.cosine_decay_schedule`, `polynomial_schedule` and `exponential_decay`, which
    with `staircase=True` is the step decay.

    Args:
      init_value: η_0.
      transition_steps: T > 0, in steps.
      power: p > 0. All four numbers may be traced.
      end_value: η_end, the value from step T on.

    Returns:
      A schedule, step count t → η_t.

    Raises:
      ValueError: if `power` or `transition_steps` is not positive.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 4; after Hundt,
      Jain, Hager, "sharpDARTS: Faster and More Accurate Differentiable Architecture Search", 2019.

    Example:
      >>> import jaxnoise as jn
      >>> schedule = jn.schedules.cosine_power(3.0, transition_steps=4, power=4.0)
      >>> [round(float(schedule(step)), 2) for step in (0, 2, 4, 9)]
      [3.0, 1.0, 0.0, 0.0]
    """
    given = {
        "init_value": init_value,
        "transition_steps": transition_steps,
        "power": power,
        "end_value": end_value,
    }
    for name, value in given.items():
        check_numbers(value, name)
    for name, value in (("transition_steps", transition_steps), ("power", power)):
        if is_concrete(value) and not (np.asarray(value) > 0).all():
            raise ValueError(f"{name} must be positive, got {value}")

    def schedule(count):
        first, last, steps, p = (
            jnp.asarray(x, float) for x in (init_value, end_value, transition_steps, power)
        )
        left = jnp.maximum(steps - count, 0) / steps
        cosine = jnp.square(jnp.sin(jnp.pi / 2 * left))  # ½(1 + cos), small without cancelling
        log_p = jnp.log(p)
        limit = cosine * (1 + log_p * (cosine - 1) / 2)  # its derivative by p is that of the rest
        nonzero = jnp.where(log_p == 0, 1, log_p)
        bent = jnp.expm1(cosine * nonzero) / jnp.expm1(nonzero)
        share = jnp.where(log_p == 0, limit, bent)
        return first * share + last * (1 - share)

    return schedule
