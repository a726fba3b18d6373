"""SGD where most component gradients vanish at the solution: functions that need not be convex."""

from __future__ import annotations

from typing import Any

import jax

from ._arguments import check_step_size, floats, last_step, ratio, root
from ._vanishing_convex import component_noise


def sgd_vanishing_nonconvex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    growth: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_gap: Any,
) -> jax.Array:
    """Bounds the mean squared gradient norm by the component gradients at the solution.

        (1/(t+1)) Σ_{k≤t} E‖∇F(w_k)‖² ≤ (F(w_0) − F_*)/(η(1 − LNη)(t+1)) + Lη/(1 − LNη)·G
        G = p_τ τ + (1 − p_τ) M_τ,      η < 1/(LN)

    for F with an L-Lipschitz gradient whose components change by no more than the full gradient
    does, up to N: Σ_{k≤t} E‖∇f(w_k; ξ) − ∇f(w_*; ξ)‖² ≤ N Σ_{k≤t} ‖∇F(w_k)‖².

    Args:
      step_size: η ≥ 0, in units of 1/L. At η = 0 the bound says nothing: it is +∞.
      num_steps: t ≥ 0; the iterates are w_0, …, w_t.
      smoothness: L > 0 of F, in units of F over squared units of w.
      growth: N > 0, without a unit; the largest of `jn.gradients.growth_ratio` estimates it.
      tau: τ, the threshold on squared norms of gradients.
      fraction: p_τ within [0, 1].
      tail_mean: M_τ, in units of τ. All three are fields of what `jn.gradients.vanishing` gives for
        the squared norms at w_*.
      initial_gap: F(w_0) − F_*, in units of F, with F_* any lower bound.
        Arrays are broadcast against each other.

    Returns:
      The bound, in squared units of the gradient.

    Raises:
      ValueError: if an argument is out of range or η is not below 1/(LN).

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3 (non-convex objectives).

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_nonconvex_bound(
      ...     0.25, num_steps=15, smoothness=1.0, growth=2.0, tau=0.0, fraction=0.5, tail_mean=1.0,
      ...     initial_gap=1.0))
      0.75
    """
    step, steps, smooth, factor, gap = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        growth=growth,
        initial_gap=initial_gap,
    )
    noise = component_noise(tau, fraction, tail_mean)
    slope = smooth * factor
    check_step_size(step_size, slope, 1, strict=True, name="(smoothness · growth)")
    start = ratio(gap, step * (steps + 1))
    return (start + smooth * step * noise) / (1 - slope * step)


def sgd_vanishing_nonconvex_step_size(
    num_steps: Any,
    smoothness: Any,
    growth: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_gap: Any,
) -> jax.Array:
    """The constant step size that makes `sgd_vanishing_nonconvex_bound` least.

        η = 1/(LN + √(L²N² + (t+1)LG/(F(w_0) − F_*))),   G = p_τ τ + (1 − p_τ) M_τ

    Args:
      num_steps, smoothness, growth, tau, fraction, tail_mean, initial_gap: t, L, N, τ, p_τ, M_τ and
        F(w_0) − F_* as for `sgd_vanishing_nonconvex_bound`.

    Returns:
      η, at most 1/(2LN), which it is where all components vanish.

    Raises:
      ValueError: if an argument is out of range.

    References:
      The minimum of the bound of Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does
      Stochastic Gradient Algorithm Work Well?", 2018, section 3, worked out here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_nonconvex_step_size(
      ...     num_steps=15, smoothness=1.0, growth=1.0, tau=0.0, fraction=0.5, tail_mean=1.0,
      ...     initial_gap=1.0))
      0.25
    """
    steps, smooth, factor, gap = floats(
        num_steps=num_steps, smoothness=smoothness, growth=growth, initial_gap=initial_gap
    )
    noise = component_noise(tau, fraction, tail_mean)
    slope = smooth * factor
    return 1 / (slope + root(slope**2 + ratio((steps + 1) * smooth * noise, gap)))


def sgd_vanishing_nonconvex_num_steps(
    target: Any,
    smoothness: Any,
    growth: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_gap: Any,
) -> jax.Array:
    """How many steps SGD needs until the least bound is at most ε, F not convex.

        t + 1 = 4L(F(w_0) − F_*)(G + εN)/ε²,   G = p_τ τ + (1 − p_τ) M_τ

    rounded up: as for gradient descent, up to the factor N, while ε is above G/N.

    Args:
      target: ε > 0, the mean of E‖∇F(w_k)‖² that is asked for: a squared norm.
      smoothness, growth, tau, fraction, tail_mean, initial_gap: L, N, τ, p_τ, M_τ and F(w_0) − F_*
        as for `sgd_vanishing_nonconvex_bound`. The step size is that of
        `sgd_vanishing_nonconvex_step_size`.

    Returns:
      t, a whole number of floating type, up to the rounding of that type.

    Raises:
      ValueError: if an argument is out of range.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3; solved for t here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_nonconvex_num_steps(
      ...     0.5, smoothness=1.0, growth=1.0, tau=0.0, fraction=0.5, tail_mean=1.0,
      ...     initial_gap=1.0))
      15.0
    """
    goal, smooth, factor, gap = floats(
        target=target, smoothness=smoothness, growth=growth, initial_gap=initial_gap
    )
    noise = component_noise(tau, fraction, tail_mean)
    return last_step(4 * smooth * gap * (noise + goal * factor) / goal**2)
