"""SGD where most component gradients vanish at the solution: convex functions.

With g_* the gradient of a component, or of a batch, at the solution w_*, and the split of the
components at a threshold τ,

    E‖g_*‖² ≤ p_τ τ + (1 − p_τ) M_τ =: G,   p_τ = P(‖g_*‖² ≤ τ),   M_τ = E[‖g_*‖² | ‖g_*‖² > τ]

takes the place of the variance in the bounds: where nearly all components vanish, SGD with a
constant step size gets on as gradient descent does, until it is as close as G allows.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._tree import is_concrete
from ._arguments import check_step_size, check_strong_convexity, floats, last_step, ratio, root


def sgd_vanishing_strongly_convex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    strong_convexity: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_squared_distance: Any,
    *,
    sharp: bool = False,
) -> jax.Array:
    """Bounds the distance to the solution by the component gradients there, F strongly convex.

        E‖w_t − w_*‖² ≤ (1 − μη(1 − ηL))ᵗ ‖w_0 − w_*‖² + 2η/(μ(1 − ηL))·G,      η < 1/L
        G = p_τ τ + (1 − p_τ) M_τ

    for μ-strongly convex F, the mean of convex components with L-Lipschitz gradients. Where
    1 − p_τ ≤ τ and η ≤ 1/(2L), the second term is at most (4η/μ)(1 + M_τ)τ. (That condition
    compares a share with a squared norm: whether it holds depends on the units of the loss.) No
    bound on the variance along the run is needed.

    Args:
      step_size: η ≥ 0, in units of 1/L.
      num_steps: t ≥ 0.
      smoothness: L > 0 of each component, in units of the loss over squared units of w.
      strong_convexity: μ within (0, L], in the same units.
      tau: τ, the threshold on squared norms of gradients.
      fraction: p_τ within [0, 1].
      tail_mean: M_τ, in units of τ. All three are fields of what `jn.gradients.vanishing` gives for
        the squared norms at w_*; of means over batches for SGD with such batches.
      initial_squared_distance: ‖w_0 − w_*‖², in squared units of w.
      sharp: take the rate 1 − 2μη(1 − ηL) and the second term η/(μ(1 − ηL))·G·(1 − rateᵗ), which
        the same proof gives.
        Arrays are broadcast against each other: a vector of τ shows which threshold says most.

    Returns:
      The bound, in squared units of w.

    Raises:
      ValueError: if an argument is out of range, μ > L, or η is not below 1/L.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3 (strongly convex objectives).

    Example:
      >>> import jaxnoise as jn
      >>> bound = jn.theory.sgd_vanishing_strongly_convex_bound(
      ...     0.5, num_steps=2, smoothness=1.0, strong_convexity=1.0,
      ...     tau=0.01, fraction=0.5, tail_mean=0.03, initial_squared_distance=16.0)
      >>> print(f"{bound:.4f}")  # 0.75² · 16 + 2 · 0.02
      9.0400
    """
    step, steps, smooth, convex, distance = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        initial_squared_distance=initial_squared_distance,
    )
    noise = component_noise(tau, fraction, tail_mean)
    check_strong_convexity(strong_convexity, smoothness)
    check_step_size(step_size, smoothness, 1, strict=True)
    margin = 1 - step * smooth
    exponent = steps * jnp.log1p(-(2 if sharp else 1) * convex * step * margin)
    floor = step / (convex * margin) * noise
    left = jnp.exp(exponent) * distance
    return left + (-floor * jnp.expm1(exponent) if sharp else 2 * floor)


def sgd_vanishing_convex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_squared_distance: Any,
) -> jax.Array:
    """Bounds the mean gap by the component gradients at the solution, F convex.

        (1/(t+1)) Σ_{k≤t} E[F(w_k) − F_*] ≤ ‖w_0 − w_*‖²/(2η(1 − ηL)(t+1)) + η/(1 − ηL)·G,  η < 1/L
        G = p_τ τ + (1 − p_τ) M_τ

    for convex components with L-Lipschitz gradients; it bounds the gap of the average iterate, too.

    Args:
      step_size, num_steps, smoothness, tau, fraction, tail_mean, initial_squared_distance: η, t, L,
        τ, p_τ, M_τ and ‖w_0 − w_*‖² as for `sgd_vanishing_strongly_convex_bound`; the iterates are
        w_0, …, w_t, and at η = 0 the bound says nothing: it is +∞.

    Returns:
      The bound, in units of F.

    Raises:
      ValueError: if an argument is out of range or η is not below 1/L.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3 (convex objectives).

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_convex_bound(
      ...     0.5, num_steps=15, smoothness=1.0, tau=0.25, fraction=0.5, tail_mean=0.75,
      ...     initial_squared_distance=2.0))
      0.75
    """
    step, steps, smooth, distance = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        initial_squared_distance=initial_squared_distance,
    )
    noise = component_noise(tau, fraction, tail_mean)
    check_step_size(step_size, smoothness, 1, strict=True)
    return (ratio(distance, 2 * step * (steps + 1)) + step * noise) / (1 - step * smooth)


def sgd_vanishing_convex_step_size(
    num_steps: Any,
    smoothness: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_squared_distance: Any,
) -> jax.Array:
    """The constant step size that makes `sgd_vanishing_convex_bound` least.

        η = 1/(L + √(L² + 2(t+1)G/‖w_0 − w_*‖²)),   G = p_τ τ + (1 − p_τ) M_τ

    The bound is then 2AL + 2√(A²L² + AG) with A = ‖w_0 − w_*‖²/(2(t+1)).

    Args:
      num_steps, smoothness, tau, fraction, tail_mean, initial_squared_distance: t, L, τ, p_τ, M_τ
        and ‖w_0 − w_*‖² as for `sgd_vanishing_convex_bound`.

    Returns:
      η, at most 1/(2L), which it is where all components vanish.

    Raises:
      ValueError: if an argument is out of range.

    References:
      The minimum of the bound of Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does
      Stochastic Gradient Algorithm Work Well?", 2018, section 3, worked out here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_convex_step_size(
      ...     num_steps=7, smoothness=1.0, tau=0.0, fraction=0.5, tail_mean=1.0,
      ...     initial_squared_distance=1.0))
      0.25
    """
    steps, smooth, distance = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        initial_squared_distance=initial_squared_distance,
    )
    noise = component_noise(tau, fraction, tail_mean)
    return 1 / (smooth + root(smooth**2 + ratio(2 * (steps + 1) * noise, distance)))


def sgd_vanishing_convex_num_steps(
    target: Any,
    smoothness: Any,
    tau: Any,
    fraction: Any,
    tail_mean: Any,
    initial_squared_distance: Any,
) -> jax.Array:
    """How many steps SGD needs until the least bound is at most ε, F convex.

        t + 1 = 2‖w_0 − w_*‖² (G + εL)/ε²,   G = p_τ τ + (1 − p_τ) M_τ

    rounded up: as for gradient descent, 2L‖w_0 − w_*‖²/ε, while ε is above G/L.

    Args:
      target: ε > 0, the mean gap that is asked for, in units of F.
      smoothness, tau, fraction, tail_mean, initial_squared_distance: L, τ, p_τ, M_τ and
        ‖w_0 − w_*‖² as for `sgd_vanishing_convex_bound`. The step size is that of
        `sgd_vanishing_convex_step_size`.

    Returns:
      t, a whole number of floating type, up to the rounding of that type.

    Raises:
      ValueError: if an argument is out of range.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3; solved for t here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_vanishing_convex_num_steps(
      ...     0.5, smoothness=1.0, tau=0.0, fraction=0.5, tail_mean=1.0,
      ...     initial_squared_distance=1.0))
      7.0
    """
    goal, smooth, distance = floats(
        target=target, smoothness=smoothness, initial_squared_distance=initial_squared_distance
    )
    noise = component_noise(tau, fraction, tail_mean)
    return last_step(2 * distance * (noise + goal * smooth) / goal**2)


def component_noise(tau: Any, fraction: Any, tail_mean: Any) -> jax.Array:
    """G = p_τ τ + (1 − p_τ) M_τ, at least E‖g_*‖²."""
    threshold, vanished, tail = floats(tau=tau, fraction=fraction, tail_mean=tail_mean)
    if is_concrete(fraction) and not (np.asarray(fraction) <= 1).all():
        raise ValueError(f"fraction must be at most 1, got {fraction}")
    return vanished * threshold + (1 - vanished) * tail
