"""When smoothing widens the region of strong convexity, and lets the minimisers be followed.

Propositions B.1 and B.2 of Sato and Iiduka, whose formulas are lost; derived anew from the
quadratic inequality of their proof. x* is the minimum, f is σ-strongly convex on the ball N(x*; r),
and u, with ‖u‖ = 1, a direction of the smoothing f̂_δ(x) = E_u[f(x − δu)].
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._tree import is_concrete
from ..schedules import admissible_decay
from ._arguments import floats


def graduated_strongly_convex_radius(radius: Any, delta: Any, cos_theta: Any = 1.0) -> jax.Array:
    """How far from x* the shift by δu still leads into the ball in which f is strongly convex.

        a r = δ cos θ + √(r² − δ² sin²θ),      ‖x − δu − x*‖ ≤ r   for   ‖x − x*‖ = a r

    with θ the angle between x − x* and u. It is r + δ where u points from x* to x, and r − δ where
    it points back. Proposition B.1 takes the first case, a > 1, for the radius d_m δ_m = a_m r in
    which f̂_{δ_m} is strongly convex. But f̂ is a mean over all directions, and the share of those
    near θ = 0 is `jn.schedules.admissible_probability`: sure for every u is r − δ alone.

    Args:
      radius: r > 0, in units of x.
      delta: δ > 0, in units of x.
      cos_theta: cos θ within [−1, 1]; −1 gives the radius that is sure.
        Arrays are broadcast against each other.

    Returns:
      a r, in units of x; NaN where the line along u misses the ball, and where a r would be
      negative.

    Raises:
      ValueError: if r or δ is not positive, or cos_theta outside [−1, 1].

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, proposition B.1.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.graduated_strongly_convex_radius(5.0, 3.0, jnp.array([1.0, 0.0, -1.0]))
      Array([8., 4., 2.], dtype=float32)
    """
    ball, shift = floats(radius=radius, delta=delta)
    if is_concrete(cos_theta) and not (np.abs(np.asarray(cos_theta)) <= 1).all():
        raise ValueError(f"cos_theta must be within [-1, 1], got {cos_theta}")
    cosine = jnp.asarray(cos_theta, float)
    inside = ball**2 - shift**2 * (1 - cosine) * (1 + cosine)
    reach = shift * cosine + jnp.sqrt(jnp.maximum(inside, 0))
    return jnp.where((inside >= 0) & (reach >= 0), reach, jnp.nan)


def graduated_noise_range(radius: Any, a: Any, cos_theta: Any = 1.0) -> tuple[jax.Array, jax.Array]:
    """The degrees of smoothing that lead from a distance a r into the ball (proposition B.1).

        a r(|cos θ| − √(cos²θ − 1 + 1/a²)) ≤ δ ≤ a r(|cos θ| + √(cos²θ − 1 + 1/a²))

    the solutions of δ² − 2δ a r|cos θ| + (a² − 1)r² ≤ 0, of which there are some only where
    |cos θ| ≥ √(a² − 1)/a. For a direction drawn uniformly that happens with probability
    `jn.schedules.admissible_probability(a, d)`, next to never in many dimensions.

    Args:
      radius: r > 0, in units of x.
      a: a_m > 1; a_m r = d_m δ_m is the radius to be reached.
      cos_theta: cosine of the angle between x − x* and ±u, within [−1, 1].
        Arrays are broadcast against each other.

    Returns:
      (lowest δ, highest δ), in units of x; NaN where there is none.

    Raises:
      ValueError: if r is not positive, a not above 1, or cos_theta outside [−1, 1].

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, proposition B.1 and
      inequality (12).

    Example:
      >>> import jaxnoise as jn
      >>> lowest, highest = jn.theory.graduated_noise_range(2.0, a=2.0)
      >>> float(lowest), float(highest)
      (2.0, 6.0)
    """
    (ball,) = floats(radius=radius)
    share = admissible_decay(a, cos_theta)
    ratio = jnp.asarray(a, float)
    return ratio * ball * share, ball * (ratio - 1 / ratio) / share


def graduated_radius_factor_range(a: Any, cos_theta: Any = 1.0) -> tuple[jax.Array, jax.Array]:
    """The factors d_m = a_m r/δ_m between radius of strong convexity and degree of smoothing.

        max{1, 1/(|cos θ| + √(cos²θ − 1 + 1/a²))} ≤ d_m ≤ 1/(|cos θ| − √(cos²θ − 1 + 1/a²))

    New σ-nice asks for d_m > 1. The upper end, at most a/(a − 1), tends to 1 as a grows, and its
    inverse is the lowest admissible decay rate, `jn.schedules.admissible_decay`.

    Args:
      a: a_m > 1.
      cos_theta: cosine of the angle between x − x* and ±u, within [−1, 1].
        Arrays are broadcast against each other.

    Returns:
      (lowest d_m, highest d_m), without units; NaN where there is none.

    Raises:
      ValueError: if a is not above 1 or cos_theta outside [−1, 1].

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, inequality (8).

    Example:
      >>> import jaxnoise as jn
      >>> lowest, highest = jn.theory.graduated_radius_factor_range(2.0)
      >>> float(lowest), float(highest)
      (1.0, 2.0)
    """
    share = admissible_decay(a, cos_theta)
    lowest = share / (1 - 1 / jnp.asarray(a, float) ** 2)
    return jnp.where(jnp.isnan(share), share, jnp.maximum(lowest, 1)), 1 / share


def graduated_noise_bound(decay: Any, distance: Any, next_distance: Any) -> jax.Array:
    """The degree of smoothing from which on the minimisers are followed (proposition B.2).

        δ_m ≥ (‖x*_{δ_m} − x*‖ + ‖x*_{δ_{m+1}} − x*‖)/(1 − γ_m)

    Then ‖x*_{δ_m} − x*_{δ_{m+1}}‖ ≤ δ_m − δ_{m+1} by the triangle inequality, condition (i) of new
    σ-nice. It is sufficient, not necessary: `jn.smoothing.nice_report` measures the move itself.
    Condition (ii) asks for δ_m within `graduated_noise_range` besides.

    Args:
      decay: γ_m = δ_{m+1}/δ_m within (0, 1).
      distance: ‖x*_{δ_m} − x*‖ ≥ 0, in units of x.
      next_distance: ‖x*_{δ_{m+1}} − x*‖ ≥ 0, in units of x.
        Arrays are broadcast against each other.

    Returns:
      The lowest δ_m, in units of x.

    Raises:
      ValueError: if γ_m is not within (0, 1) or a distance is negative.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, proposition B.2, whose
      condition (9) is lost; this one is ours.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.graduated_noise_bound(0.5, distance=0.3125, next_distance=0.1875))
      1.0
    """
    rate, here, there = floats(decay=decay, distance=distance, next_distance=next_distance)
    if is_concrete(decay) and not ((np.asarray(decay) > 0) & (np.asarray(decay) < 1)).all():
        raise ValueError(f"decay must lie between 0 and 1, got {decay}")
    return (here + there) / (1 - rate)
