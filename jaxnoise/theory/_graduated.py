"""Graduated optimization: steps for each smoothed function, and how many of them.

The formulas of these theorems are lost in the text that they are taken from; what stands here is
derived anew along the steps of its proofs, with constants of our own.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._tree import is_concrete
from ._arguments import check_step_size, check_strong_convexity, floats, last_step, ratio


def graduated_stage_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    initial_squared_distance: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """Bounds the gap of SGD with a constant step size on one smoothed function (theorem 3.1).

        min_{t ≤ K} E[f̂_δ(x_t) − f̂_δ(x*_δ)] ≤ H_1/(K+1) + H_2,      η < min{1/σ, 2/L}
        H_1 = ‖x_0 − x*_δ‖²/(2η) + (f̂_δ(x_0) − f̂_δ(x*_δ))/(2 − Lη),   H_2 = ηC²/((2 − Lη)b)

    for f̂_δ σ-strongly convex, with an L-Lipschitz gradient. It bounds the mean over t, too. With
    the full gradient of f̂_δ (algorithm 1) C is 0. Derived from the paper's lemmas: strong
    convexity bounds the gap by ‖x_t − x*‖²/(2η) − ‖x_{t+1} − x*‖²/(2η) + (η/2)E‖g_t‖² (E.1),
    smoothness the mean of E‖∇f̂‖² (E.2, E.3). Of strong convexity only convexity is used: where
    the iterates stay in the strongly convex region, `sgd_strongly_convex_bound` says more.

    Args:
      step_size: η ≥ 0, in units of 1/L. At η = 0 the bound says nothing: it is +∞.
      num_steps: K ≥ 0; the iterates are x_0, …, x_K.
      smoothness: L > 0, in units of f over squared units of x; that of f does for all f̂_δ.
      strong_convexity: σ within (0, L], in the same units; it limits the step size.
      variance: C² ≥ E‖g_t − ∇f̂_δ(x_t)‖² for a single example, in squared units of the gradient.
      initial_gap: f̂_δ(x_0) − f̂_δ(x*_δ), in units of f.
      initial_squared_distance: ‖x_0 − x*_δ‖², in squared units of x.
      batch_size: b independent examples in each stochastic gradient.
        Arrays are broadcast against each other.

    Returns:
      The bound, in units of f.

    Raises:
      ValueError: if an argument is negative, σ > L, or the step size too large.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, theorem 3.1.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.graduated_stage_bound(
      ...     1.0, num_steps=3, smoothness=1.0, strong_convexity=0.5, variance=0.25,
      ...     initial_gap=1.0, initial_squared_distance=4.0))
      1.0
    """
    step, steps, smooth, _, noise, gap, distance, batch = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    check_step_size(step_size, smoothness, 2, strict=True)
    check_step_size(step_size, strong_convexity, 1, strict=True, name="strong_convexity")
    damping = 2 - smooth * step
    start = ratio(distance, 2 * step) + gap / damping
    return start / (steps + 1) + step * noise / (damping * batch)


def graduated_stage_num_steps(decay: Any, smoothness: Any, strong_convexity: Any) -> jax.Array:
    """How many steps of gradient descent each smoothed function needs.

        K + 1 = 2(L/σ)(2/γ − 1)²,   γ = δ_m/δ_{m−1}

    rounded up, with step size 1/L. Then f̂_{δ_m}(x) − f̂_{δ_m}(x*_{δ_m}) ≤ σδ_m²/2, so that x is
    within δ_m of x*_{δ_m}. The start, the end of the last stage, is within δ_{m−1} of x*_{δ_{m−1}},
    hence within (2/γ − 1)δ_m of x*_{δ_m} for a new σ-nice function; theorem 3.1 with C = 0 and
    f̂(x_0) − f̂* ≤ (L/2)‖x_0 − x*‖² does the rest. Under polynomial decay of power p ≤ 1 the last
    stage needs the most, 2(L/σ)(2^{1+p} − 1)² ≤ 18 L/σ, so that M stages take at most 18 M L/σ
    steps, in all, of the order of ε^{−1/p}. The first stage has no last one: it needs
    2(L/σ)‖x_1 − x*_{δ_1}‖²/δ_1² from where it starts.

    Args:
      decay: γ within (0, 1], as `jn.schedules.decay_rates` gives.
      smoothness, strong_convexity: L and σ as for `graduated_stage_bound`.
        Arrays are broadcast against each other.

    Returns:
      K, a whole number of floating type.

    Raises:
      ValueError: if γ is not within (0, 1], or σ > L.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, theorems 3.1 and 3.2.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.graduated_stage_num_steps(0.5, smoothness=2.0, strong_convexity=1.0))
      35.0
    """
    rate, smooth, convex = floats(
        decay=decay, smoothness=smoothness, strong_convexity=strong_convexity
    )
    check_strong_convexity(strong_convexity, smoothness)
    if is_concrete(decay) and not ((np.asarray(decay) > 0) & (np.asarray(decay) <= 1)).all():
        raise ValueError(f"decay must be above 0 and at most 1, got {decay}")
    return last_step(2 * smooth / convex * (2 / rate - 1) ** 2)


def graduated_bound(
    num_stages: Any, delta: Any, power: Any, lipschitz: Any, strong_convexity: Any
) -> jax.Array:
    """Bounds the gap after M stages of graduated optimization (theorems 3.2 and 3.3).

        E[f(x)] − f(x*) ≤ 2L_f δ_M + σδ_M²/2,      δ_M = δ_1 M^{−p}

    for a new σ-nice f with Lipschitz constant L_f and polynomial decay δ_m = δ_1((M − m + 1)/M)^p,
    where the last stage ends with f̂_{δ_M}(x) − f̂_{δ_M}(x*_{δ_M}) ≤ σδ_M²/2, as
    `graduated_stage_num_steps` has it. For |f − f̂_δ| ≤ L_f δ at x and at x*, and
    f̂_δ(x*_δ) ≤ f̂_δ(x*). The distance is ‖x − x*‖ ≤ 2δ_M, by proposition 3.2 (i).

    Both the explicit algorithm, which smooths, and the implicit one, whose noise does with
    δ_1 = `jn.schedules.degree_of_smoothing(η_1, b_1, C)`, end like this. The second is as true as
    SGD on f being gradient descent on f̂_δ, which it is on average only.

    Args:
      num_stages: M ≥ 1.
      delta: δ_1 > 0, the first degree of smoothing, in units of x.
      power: p > 0 of the decay; p ≤ 1 keeps the decay rates admissible.
      lipschitz: L_f > 0, in units of f over units of x.
      strong_convexity: σ > 0, in units of f over squared units of x.
        Arrays are broadcast against each other.

    Returns:
      The bound, in units of f.

    Raises:
      ValueError: if an argument is not positive.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, theorems 3.2 and 3.3;
      after Hazan, Levy, Shalev-Shwartz, "On Graduated Optimization for Stochastic Non-Convex
      Problems", 2016.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.graduated_bound(
      ...     16, delta=2.0, power=0.5, lipschitz=1.0, strong_convexity=1.0))
      1.125
    """
    stages, first, exponent, slope, convex = floats(
        num_stages=num_stages,
        delta=delta,
        power=power,
        lipschitz=lipschitz,
        strong_convexity=strong_convexity,
    )
    last = first * stages**-exponent
    return 2 * slope * last + convex * last**2 / 2


def graduated_num_stages(
    target: Any, delta: Any, power: Any, lipschitz: Any, strong_convexity: Any
) -> jax.Array:
    """How many stages graduated optimization needs until the bound is at most ε.

        M = (δ_1(L_f + √(L_f² + σε/2))/ε)^{1/p}

    rounded up: of the order of ε^{−1/p} for small ε, as theorems 3.2 and 3.3 state, so that a
    larger power of the decay needs fewer stages.

    Args:
      target: ε > 0, the gap f(x) − f(x*) that is asked for, in units of f.
      delta, power, lipschitz, strong_convexity: δ_1, p, L_f and σ as for `graduated_bound`.

    Returns:
      M, a whole number of floating type, at least 1.

    Raises:
      ValueError: if an argument is not positive.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, theorems 3.2 and 3.3.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.graduated_num_stages(
      ...     1.13, delta=2.0, power=0.5, lipschitz=1.0, strong_convexity=1.0))
      16.0
    """
    goal, first, exponent, slope, convex = floats(
        target=target,
        delta=delta,
        power=power,
        lipschitz=lipschitz,
        strong_convexity=strong_convexity,
    )
    shrink = first * (slope + jnp.sqrt(slope**2 + convex * goal / 2)) / goal
    return jnp.maximum(jnp.ceil(shrink ** (1 / exponent)), 1)
