"""SGD on a smooth function that need not be convex: how small the gradient becomes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import check_step_size, floats, last_step, ratio, root


def sgd_nonconvex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    variance: Any,
    initial_gap: Any,
    *,
    batch_size: Any = 1,
    sharp: bool = False,
) -> jax.Array:
    """Bounds the mean squared gradient norm over the iterates of SGD with a constant step size.

        (1/(K+1)) Σ_{k=0}^K E‖∇f(x_k)‖² ≤ 2Δ₀/(γ(K+1)) + γLσ²/B,      γ ≤ 1/L

    for f with an L-Lipschitz gradient and stochastic gradients that are unbiased, independent, and
    of variance σ² at most at every iterate. It is also the expectation at an iterate drawn
    uniformly. With σ² = 0 this is gradient descent. The second term stays as K grows: SGD with a
    constant step reaches a floor, which falls with γ and 1/B.

    Args:
      step_size: γ ≥ 0, in units of 1/L. At γ = 0 the bound says nothing: it is +∞.
      num_steps: K ≥ 0; the iterates are x_0, …, x_K.
      smoothness: L > 0, in units of f over squared units of x.
      variance: σ² ≥ E‖g_k − ∇f(x_k)‖² for the gradient of a single example, in squared units of
        the gradient; 0 is gradient descent.
      initial_gap: Δ₀ = f(x_0) − inf f, in units of f.
      batch_size: B independent examples in each stochastic gradient.
      sharp: take (2Δ₀/(γ(K+1)) + γLσ²/B)/(2 − Lγ) instead, which the same proof gives before
        2 − Lγ ≥ 1 is used; it holds for γ < 2/L.
        Arrays are broadcast against each other.

    Returns:
      The bound, in squared units of the gradient.

    Raises:
      ValueError: if an argument is negative or the step size too large.

    References:
      "SGD rates", lecture notes, theorems 1 and 4. Bottou, Curtis, Nocedal, "Optimization Methods
      for Large-Scale Machine Learning", 2018, theorem 4.8.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_nonconvex_bound(
      ...     0.5, num_steps=63, smoothness=1.0, variance=0.5, initial_gap=4.0))
      0.5
    """
    step, steps, smooth, noise, gap, batch = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    check_step_size(step_size, smoothness, 2 if sharp else 1, strict=sharp)
    bound = ratio(2 * gap, step * (steps + 1)) + step * smooth * noise / batch
    return bound / (2 - smooth * step) if sharp else bound


def sgd_nonconvex_step_size(
    num_steps: Any, smoothness: Any, variance: Any, initial_gap: Any, *, batch_size: Any = 1
) -> jax.Array:
    """The constant step size that balances both terms of `sgd_nonconvex_bound` for K steps.

        γ = 1/(L + √((K+1)Lσ²/(2Δ₀B)))

    Without noise it is 1/L; with noise and Δ₀ = 0 it is 0, for x_0 is as good as can be.

    Args:
      num_steps: K ≥ 0; an array of 0, 1, 2, … gives a decaying step size.
      smoothness, variance, initial_gap, batch_size: L, σ², Δ₀ and B as for `sgd_nonconvex_bound`.

    Returns:
      γ, at most 1/L.

    Raises:
      ValueError: if an argument is negative.

    References:
      "SGD rates", lecture notes, corollary 1 and theorem 4. Ghadimi, Lan, "Stochastic First- and
      Zeroth-Order Methods for Nonconvex Stochastic Programming", 2013, section 2.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_nonconvex_step_size(
      ...     num_steps=17, smoothness=1.0, variance=1.0, initial_gap=1.0))
      0.25
    """
    steps, smooth, noise, gap, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    return 1 / (smooth + root(ratio((steps + 1) * smooth * noise, 2 * gap * batch)))


def sgd_nonconvex_tuned_bound(
    num_steps: Any, smoothness: Any, variance: Any, initial_gap: Any, *, batch_size: Any = 1
) -> jax.Array:
    """What the step size of `sgd_nonconvex_step_size` guarantees.

        (1/(K+1)) Σ_{k=0}^K E‖∇f(x_k)‖² ≤ √(8LΔ₀σ²/(B(K+1))) + 2LΔ₀/(K+1)

    The first term dominates: noise costs σ/√(BK), gradient descent (σ² = 0) 1/K.

    Args:
      num_steps, smoothness, variance, initial_gap, batch_size: K, L, σ², Δ₀ and B as for
        `sgd_nonconvex_bound`.

    Returns:
      The bound, in squared units of the gradient.

    Raises:
      ValueError: if an argument is negative.

    References:
      "SGD rates", lecture notes, corollary 1 and theorem 4 (which leaves out the constants).

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_nonconvex_tuned_bound(
      ...     num_steps=31, smoothness=1.0, variance=1.0, initial_gap=1.0))
      0.5625
    """
    steps, smooth, noise, gap, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    start = smooth * gap / (steps + 1)
    return root(8 * start * noise / batch) + 2 * start


def sgd_nonconvex_num_steps(
    target: Any,
    smoothness: Any,
    variance: Any,
    initial_gap: Any,
    *,
    step_size: Any = None,
    batch_size: Any = 1,
) -> jax.Array:
    """How many steps SGD needs until the bound is at most ε.

        K + 1 = ((a + √(a² + 4cε))/(2ε))²,  a² = 8LΔ₀σ²/B,  c = 2LΔ₀      with the tuned step size
        K + 1 = 2Δ₀/(γ(ε − γLσ²/B))                                        with the given γ

    rounded up. The first grows as σ²/(Bε²) + 1/ε; these are steps, and B times as many examples.
    The second is +∞ where ε is not above the floor γLσ²/B.

    Args:
      target: ε > 0, the mean of E‖∇f(x_k)‖² that is asked for: a squared norm.
      smoothness, variance, initial_gap, batch_size: L, σ², Δ₀ and B as for `sgd_nonconvex_bound`.
      step_size: γ > 0; None takes that of `sgd_nonconvex_step_size` for the K returned.

    Returns:
      K, a whole number of floating type, up to the rounding of that type.

    Raises:
      ValueError: if an argument is negative, the target not positive or the step size above 1/L.

    References:
      "SGD rates", lecture notes, table of complexities; solved for K here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_nonconvex_num_steps(
      ...     0.57, smoothness=1.0, variance=1.0, initial_gap=1.0))
      31.0
    """
    goal, smooth, noise, gap, batch = floats(
        target=target,
        smoothness=smoothness,
        variance=variance,
        initial_gap=initial_gap,
        batch_size=batch_size,
    )
    if step_size is None:
        noisy, start = 8 * smooth * gap * noise / batch, 2 * smooth * gap
        return last_step(((root(noisy) + root(noisy + 4 * start * goal)) / (2 * goal)) ** 2)
    (step,) = floats(step_size=step_size)
    check_step_size(step_size, smoothness, 1)
    left = goal - step * smooth * noise / batch
    return last_step(jnp.where(left > 0, ratio(2 * gap, step * left), jnp.inf))


def sgd_nonconvex_critical_batch_size(
    step_size: Any, target: Any, smoothness: Any, variance: Any, *, sharp: bool = False
) -> jax.Array:
    """The batch size at which a constant step size reaches ε with the fewest examples.

        b* = 2γLσ²/ε

    The bound needs K + 1 = 2Δ₀/(γ(ε − γLσ²/B)) steps, hence B(K + 1) examples, which is least
    where the floor takes up half of ε. Below b*/2 the floor is above ε; far above b* the examples
    grow with B while the steps hardly fall.

    Args:
      step_size: γ ≤ 1/L.
      target: ε > 0, the mean of E‖∇f(x_k)‖² that is asked for: a squared norm.
      smoothness, variance: L and σ² as for `sgd_nonconvex_bound`.
      sharp: b* = 2γLσ²/((2 − Lγ)ε) of the sharp bound, for γ < 2/L;
        `jn.gradients.variance_from_critical_batch` solves this for σ².

    Returns:
      b*, not rounded.

    Raises:
      ValueError: if an argument is negative, the target not positive or the step size too large.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, appendix C.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_nonconvex_critical_batch_size(
      ...     0.5, target=0.25, smoothness=1.0, variance=16.0))
      64.0
    """
    step, goal, smooth, noise = floats(
        step_size=step_size, target=target, smoothness=smoothness, variance=variance
    )
    check_step_size(step_size, smoothness, 2 if sharp else 1, strict=sharp)
    size = 2 * step * smooth * noise / goal
    return size / (2 - smooth * step) if sharp else size
