"""SGD on a smooth, strongly convex function: how small the gap of the last iterate becomes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import check_step_size, check_strong_convexity, floats


def sgd_strongly_convex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    *,
    batch_size: Any = 1,
    sharp: bool = False,
) -> jax.Array:
    """Bounds the gap of the last iterate of SGD with a constant step size, f strongly convex.

        E[f(x_K)] − f* ≤ (1 − γμ)^K Δ₀ + γLσ²/(μB),      γ ≤ 1/L

    for μ-strongly convex f with an L-Lipschitz gradient and stochastic gradients that are unbiased
    and of variance σ² at most at every iterate. The start is forgotten exponentially; what stays is
    a floor that falls with γ and 1/B. With σ² = 0 this is gradient descent. It is enough that
    ‖∇f(x)‖² ≥ 2μ(f(x) − f*) (Polyak, Łojasiewicz) in place of strong convexity.

    The noise of least squares grows with the distance from x*, so that σ² at x* is no bound: take
    the largest variance along the run.

    Args:
      step_size: γ ≥ 0, in units of 1/L.
      num_steps: K ≥ 0; the iterates are x_0, …, x_K.
      smoothness: L > 0, in units of f over squared units of x.
      strong_convexity: μ within (0, L], in the same units.
      variance: σ² ≥ E‖g_k − ∇f(x_k)‖² for the gradient of a single example, in squared units of
        the gradient; 0 is gradient descent.
      initial_gap: Δ₀ = f(x_0) − f*, in units of f.
      batch_size: B independent examples in each stochastic gradient.
      sharp: take the floor γLσ²/(2μB)·(1 − (1 − γμ)^K), which the proof gives: half of it in the
        long run, and none at K = 0.
        Arrays are broadcast against each other.

    Returns:
      The bound, in units of f.

    Raises:
      ValueError: if an argument is negative, μ > L, or the step size above 1/L.

    References:
      "SGD rates", lecture notes, theorem 3. Bottou, Curtis, Nocedal, "Optimization Methods for
      Large-Scale Machine Learning", 2018, theorem 4.6.

    Example:
      >>> import jaxnoise as jn
      >>> bound = jn.theory.sgd_strongly_convex_bound(
      ...     0.5, num_steps=3, smoothness=2.0, strong_convexity=1.0, variance=1.0, initial_gap=8.0)
      >>> print(f"{bound:.4f}")
      2.0000
    """
    step, steps, smooth, convex, noise, gap, batch = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    check_step_size(step_size, smoothness, 1)
    exponent = jnp.where(steps == 0, 0, steps * _log_factor(step * convex))
    floor = step * smooth * noise / (convex * batch)
    return jnp.exp(exponent) * gap + (-floor / 2 * jnp.expm1(exponent) if sharp else floor)


def sgd_strongly_convex_step_size(
    num_steps: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """The constant step size that makes the bound after K steps small, up to a logarithm.

        γ = min{1/L, ln(max(2, μ²Δ₀KB/(Lσ²)))/(μK)}

    The lecture has the logarithm without the maximum; where noise is large or K small it would be
    negative. Without noise, and at K = 0, it is 1/L.

    Args:
      num_steps, smoothness, strong_convexity, variance, initial_gap, batch_size: K, L, μ, σ², Δ₀
        and B as for `sgd_strongly_convex_bound`.

    Returns:
      γ, at most 1/L.

    Raises:
      ValueError: if an argument is negative or μ > L.

    References:
      "SGD rates", lecture notes, theorem 3.

    Example:
      >>> import jaxnoise as jn
      >>> step_size = jn.theory.sgd_strongly_convex_step_size(
      ...     num_steps=100, smoothness=1.0, strong_convexity=0.5, variance=1.0, initial_gap=4.0)
      >>> print(f"{step_size:.4f}")  # ln(100)/50
      0.0921
    """
    steps, smooth, convex, noise, gap, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    noisy, steps, _, log = _balance(steps, smooth, convex, noise / batch, gap)
    return jnp.where(noisy, jnp.minimum(1 / smooth, log / (convex * steps)), 1 / smooth)


def sgd_strongly_convex_tuned_bound(
    num_steps: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """What the step size of `sgd_strongly_convex_step_size` guarantees.

        E[f(x_K)] − f* ≤ Δ₀ exp(−μK/L) + Lσ²/(μ²KB)·(1 + ln(max(2, μ²Δ₀KB/(Lσ²))))

    It is the lecture's Õ(Lσ²/(μ²K) + Δ₀ exp(−μK/L)) with its constant and logarithm: put the step
    size into theorem 3 and use 1 − x ≤ e^{−x}.

    Args:
      num_steps, smoothness, strong_convexity, variance, initial_gap, batch_size: K, L, μ, σ², Δ₀
        and B as for `sgd_strongly_convex_bound`.

    Returns:
      The bound, in units of f; Δ₀ at K = 0.

    Raises:
      ValueError: if an argument is negative or μ > L.

    References:
      "SGD rates", lecture notes, theorem 3; the constant is worked out here.

    Example:
      >>> import jaxnoise as jn
      >>> bound = jn.theory.sgd_strongly_convex_tuned_bound(
      ...     num_steps=100, smoothness=1.0, strong_convexity=0.5, variance=1.0, initial_gap=4.0)
      >>> print(f"{bound:.4f}")  # 0.04 (1 + ln(100))
      0.2242
    """
    steps, smooth, convex, noise, gap, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    start = gap * jnp.exp(-convex * steps / smooth)
    noisy, steps, noise, log = _balance(steps, smooth, convex, noise / batch, gap)
    return start + jnp.where(noisy, smooth * noise / (convex**2 * steps) * (1 + log), 0)


def sgd_strongly_convex_num_steps(
    target: Any,
    smoothness: Any,
    strong_convexity: Any,
    variance: Any,
    initial_gap: Any,
    *,
    step_size: Any = None,
    batch_size: Any = 1,
) -> jax.Array:
    """How many steps SGD needs until the bound is at most ε, f strongly convex.

        K = ln(Δ₀/(ε − γLσ²/(μB))) / (−ln(1 − γμ))

    rounded up; +∞ where ε is not above the floor. Without a given γ it is min{1/L, εμB/(2Lσ²)},
    whose floor takes up at most half of ε: K then grows as (L/μ + Lσ²/(μ²Bε)) ln(Δ₀/ε).

    Args:
      target: ε > 0, the gap that is asked for, in units of f.
      smoothness, strong_convexity, variance, initial_gap, batch_size: L, μ, σ², Δ₀ and B as for
        `sgd_strongly_convex_bound`.
      step_size: γ > 0, or None.

    Returns:
      K, a whole number of floating type, up to the rounding of that type.

    Raises:
      ValueError: if an argument is negative, the target not positive, μ > L, or the step size above
        1/L.

    References:
      "SGD rates", lecture notes, table of complexities; solved for K here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_strongly_convex_num_steps(
      ...     0.3, smoothness=2.0, strong_convexity=1.0, variance=0.0, initial_gap=8.0))
      5.0
    """
    goal, smooth, convex, noise, gap, batch = floats(
        target=target,
        smoothness=smoothness,
        strong_convexity=strong_convexity,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_strong_convexity(strong_convexity, smoothness)
    if step_size is None:
        step = jnp.minimum(1 / smooth, goal * convex * batch / (2 * smooth * noise))
    else:
        (step,) = floats(step_size=step_size)
        check_step_size(step_size, smoothness, 1)
    left = goal - step * smooth * noise / (convex * batch)
    times = jnp.log(gap / jnp.where(left > 0, left, 1)) / -_log_factor(step * convex)
    steps = jnp.where(gap > left, jnp.maximum(jnp.ceil(times), 1), 0)
    return jnp.where(left > 0, steps, jnp.inf)


def _log_factor(rate: jax.Array) -> jax.Array:
    """ln(1 − rate), which rounding of the rate must not take from a rate of 1."""
    return jnp.log1p(-jnp.minimum(rate, 1))


def _balance(steps, smooth, convex, noise, gap) -> tuple[jax.Array, ...]:
    """(σ² > 0 and K > 0, K, σ², ln(max(2, μ²Δ₀K/(Lσ²)))), with 1 for K and σ² where not."""
    noisy = (noise > 0) & (steps > 0)
    steps, noise = jnp.where(noisy, steps, 1), jnp.where(noisy, noise, 1)
    log = jnp.log(jnp.maximum(2, convex**2 * gap * steps / (smooth * noise)))
    return noisy, steps, noise, log
