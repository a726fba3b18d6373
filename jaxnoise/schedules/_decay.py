"""How fast a schedule decays, and how fast graduated optimization lets it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._checks import check_count, check_function, check_numbers
from .._tree import is_concrete


def decay_rates(schedule: optax.Schedule, num_steps: int) -> jax.Array:
    """The factors by which a schedule changes from step to step.

        γ_t = η_{t+1}/η_t,   t = 0, …, num_steps − 1

    At a constant batch size it is also the factor of the degree of smoothing. A schedule that ends
    at zero has γ = 0 in its last step, which no lower bound allows; test those before it. Where
    η_t = 0 nothing is left to decay, and γ_t is NaN.

    Args:
      schedule: step count → value, of operations that JAX can trace.
      num_steps: number of steps, at least 1.

    Returns:
      (num_steps,) rates.

    Raises:
      ValueError: if there are no steps.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, figures 4–7.

    Example:
      >>> import optax
      >>> import jaxnoise as jn
      >>> jn.schedules.decay_rates(optax.exponential_decay(0.5, 1, 0.5), 3)
      Array([0.5, 0.5, 0.5], dtype=float32)
    """
    check_function(schedule, "schedule")
    check_count(num_steps, "num_steps")
    values = jnp.asarray(jax.vmap(schedule)(jnp.arange(num_steps + 1)))
    now, after = values[:-1], values[1:]
    return jnp.where(now == 0, jnp.nan, after / jnp.where(now == 0, 1, now))


def admissible_decay(a: Any, cos_theta: Any = 1.0) -> jax.Array:
    """The lowest decay rate γ_m that graduated optimization allows, a step's lower bound.

        γ > |cos θ| − √(cos²θ − 1 + 1/a²)      where |cos θ| ≥ √(a² − 1)/a

    There the ray γu first comes within 1/a of the unit vector along x − x*: it is the lower root of
    γ² − 2γ|cos θ| + 1 − 1/a² = 0. It lies between (a − 1)/a for θ = 0 and √(a² − 1)/a at tangency,
    where the ray only touches; both tend to 1 as a grows. At wider angles no rate is admissible,
    and the result is NaN. A schedule is admissible at a step whose rate lies between the bound and
    1; the last stage, which ends at δ = 0, isn't asked.

    Args:
      a: a_{m+1} > 1, of the next, smaller δ.
      cos_theta: cosine of the angle θ between x − x* and the direction u of the smoothing's step,
        within [−1, 1]. Arrays are broadcast against each other.

    Returns:
      The bound, within (0, 1), or NaN.

    Raises:
      ValueError: if `a` is not above 1 or `cos_theta` is outside [−1, 1].

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 3 (new σ-nice).

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.schedules.admissible_decay(4.0))
      0.75
      >>> float(jn.schedules.admissible_decay(4.0, cos_theta=0.5))
      nan
    """
    _check_a(a)
    check_numbers(cos_theta, "cos_theta")
    if is_concrete(cos_theta) and not (np.abs(np.asarray(cos_theta)) <= 1).all():
        raise ValueError(f"cos_theta must be within [-1, 1], got {cos_theta}")
    a, c = jnp.asarray(a, float), jnp.abs(jnp.asarray(cos_theta, float))
    inverse = 1 / a**2
    inside = inverse - (1 - c) * (1 + c)
    root = jnp.sqrt(jnp.maximum(inside, 0))
    rounding = 4 * jnp.finfo(inside.dtype).eps  # tangency counts as reached
    return jnp.where(inside >= -rounding, (1 - inverse) / (c + root), jnp.nan)


def admissible_probability(a: Any, dimension: Any) -> Any:
    """The share of directions for which any decay rate is admissible.

        P(|cos θ| ≥ √(a² − 1)/a) = I_{1/a²}((d − 1)/2, ½)

    with u uniform on the unit sphere of d dimensions and I the regularised incomplete beta
    function. It falls exponentially with d: the condition holds on next to no direction of a
    network's parameters, so that it says little about them.

    Args:
      a: a_{m+1} > 1.
      dimension: d, at least 1. Arrays are broadcast against each other; neither may be traced, for
        single precision would be too narrow for the result.

    Returns:
      The probability, a NumPy number or array in double precision.

    Raises:
      ValueError: if `a` is not above 1 or `dimension` is below 1.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 3 (new σ-nice);
      the probability is ours.

    Example:
      >>> import jaxnoise as jn
      >>> print(f"{jn.schedules.admissible_probability(2.0, dimension=3):.3f}")
      0.134
      >>> print(f"{jn.schedules.admissible_probability(2.0, dimension=100):.1e}")
      1.5e-31
    """
    from scipy.special import betainc  # SciPy takes long to import

    _check_a(a)
    check_numbers(dimension, "dimension")
    a, d = np.asarray(a, float), np.asarray(dimension, float)
    if not (d >= 1).all():
        raise ValueError(f"dimension must be at least 1, got {dimension}")
    return betainc((d - 1) / 2, 0.5, 1 / a**2)


def _check_a(a: Any) -> None:
    check_numbers(a, "a")
    if is_concrete(a) and not (np.asarray(a) > 1).all():
        raise ValueError(f"a must be above 1, got {a}")
