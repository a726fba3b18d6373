"""SGD on a smooth convex function: how small the gap of the averaged iterate becomes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import check_step_size, floats, last_step, ratio, root


def sgd_convex_bound(
    step_size: Any,
    num_steps: Any,
    smoothness: Any,
    variance: Any,
    initial_squared_distance: Any,
    *,
    batch_size: Any = 1,
    sharp: bool = False,
) -> jax.Array:
    """Bounds the mean gap over the iterates of SGD with a constant step size, f convex.

        (1/(K+1)) Σ_{k=0}^K E[f(x_k) − f*] ≤ Δ₀/(γ(K+1)) + γσ²/B,      γ ≤ 1/(2L)

    for convex f with an L-Lipschitz gradient and stochastic gradients that are unbiased,
    independent, and of variance σ² at most at every iterate. It bounds the gap of the average
    iterate, too, for f is convex. With σ² = 0 this is gradient descent.

    Args:
      step_size: γ ≥ 0, in units of 1/L. At γ = 0 the bound says nothing: it is +∞.
      num_steps: K ≥ 0; the iterates are x_0, …, x_K.
      smoothness: L > 0, in units of f over squared units of x; it only limits the step size.
      variance: σ² ≥ E‖g_k − ∇f(x_k)‖² for the gradient of a single example, in squared units of
        the gradient; 0 is gradient descent.
      initial_squared_distance: Δ₀ = ‖x_0 − x*‖², in squared units of x; x* is any minimiser.
      batch_size: B independent examples in each stochastic gradient.
      sharp: take half of it, which holds for γ ≤ 1/L, where the proof uses
        ⟨∇f(x), x − x*⟩ ≥ f(x) − f* + ‖∇f(x)‖²/(2L) instead of leaving out the last term.
        Arrays are broadcast against each other.

    Returns:
      The bound, in units of f.

    Raises:
      ValueError: if an argument is negative or the step size too large.

    References:
      "SGD rates", lecture notes, theorem 2. Compare Bubeck, "Convex Optimization: Algorithms and
      Complexity", 2015, theorem 6.3.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_convex_bound(
      ...     0.5, num_steps=31, smoothness=1.0, variance=0.5, initial_squared_distance=4.0))
      0.5
    """
    step, steps, _, noise, distance, batch = floats(
        step_size=step_size,
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    check_step_size(step_size, smoothness, 1 if sharp else 0.5)
    bound = ratio(distance, step * (steps + 1)) + step * noise / batch
    return bound / 2 if sharp else bound


def sgd_convex_step_size(
    num_steps: Any,
    smoothness: Any,
    variance: Any,
    initial_squared_distance: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """The constant step size that balances both terms of `sgd_convex_bound` for K steps.

        γ = 1/(2L + √((K+1)σ²/(Δ₀B)))

    Without noise it is 1/(2L); with noise and Δ₀ = 0 it is 0, for x_0 is a minimiser.

    Args:
      num_steps: K ≥ 0; an array of 0, 1, 2, … gives a decaying step size.
      smoothness, variance, initial_squared_distance, batch_size: L, σ², Δ₀ and B as for
        `sgd_convex_bound`.

    Returns:
      γ, at most 1/(2L).

    Raises:
      ValueError: if an argument is negative.

    References:
      "SGD rates", lecture notes, theorem 2.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_convex_step_size(
      ...     num_steps=35, smoothness=1.0, variance=1.0, initial_squared_distance=1.0))
      0.125
    """
    steps, smooth, noise, distance, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    return 1 / (2 * smooth + root(ratio((steps + 1) * noise, distance * batch)))


def sgd_convex_tuned_bound(
    num_steps: Any,
    smoothness: Any,
    variance: Any,
    initial_squared_distance: Any,
    *,
    batch_size: Any = 1,
) -> jax.Array:
    """What the step size of `sgd_convex_step_size` guarantees.

        (1/(K+1)) Σ_{k=0}^K E[f(x_k) − f*] ≤ 2√(σ²Δ₀/(B(K+1))) + 2LΔ₀/(K+1)

    The first term dominates: noise costs σ/√(BK), gradient descent (σ² = 0) 1/K.

    Args:
      num_steps, smoothness, variance, initial_squared_distance, batch_size: K, L, σ², Δ₀ and B as
        for `sgd_convex_bound`.

    Returns:
      The bound, in units of f.

    Raises:
      ValueError: if an argument is negative.

    References:
      "SGD rates", lecture notes, theorem 2, and for B > 1 theorem 4.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_convex_tuned_bound(
      ...     num_steps=15, smoothness=1.0, variance=1.0, initial_squared_distance=1.0))
      0.625
    """
    steps, smooth, noise, distance, batch = floats(
        num_steps=num_steps,
        smoothness=smoothness,
        variance=variance,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    start = distance / (steps + 1)
    return 2 * root(noise * start / batch) + 2 * smooth * start


def sgd_convex_num_steps(
    target: Any,
    smoothness: Any,
    variance: Any,
    initial_squared_distance: Any,
    *,
    step_size: Any = None,
    batch_size: Any = 1,
) -> jax.Array:
    """How many steps SGD needs until the bound is at most ε, f convex.

        K + 1 = ((a + √(a² + 4cε))/(2ε))²,  a² = 4σ²Δ₀/B,  c = 2LΔ₀      with the tuned step size
        K + 1 = Δ₀/(γ(ε − γσ²/B))                                         with the given γ

    rounded up. The first grows as σ²/(Bε²) + 1/ε; these are steps, and B times as many examples.
    The second is +∞ where ε is not above the floor γσ²/B.

    Args:
      target: ε > 0, the mean gap that is asked for, in units of f.
      smoothness, variance, initial_squared_distance, batch_size: L, σ², Δ₀ and B as for
        `sgd_convex_bound`.
      step_size: γ > 0; None takes that of `sgd_convex_step_size` for the K returned.

    Returns:
      K, a whole number of floating type, up to the rounding of that type.

    Raises:
      ValueError: if an argument is negative, the target not positive or the step size above 1/(2L).

    References:
      "SGD rates", lecture notes, table of complexities; solved for K here.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_convex_num_steps(
      ...     0.63, smoothness=1.0, variance=1.0, initial_squared_distance=1.0))
      15.0
    """
    goal, smooth, noise, distance, batch = floats(
        target=target,
        smoothness=smoothness,
        variance=variance,
        initial_squared_distance=initial_squared_distance,
        batch_size=batch_size,
    )
    if step_size is None:
        noisy, start = 4 * noise * distance / batch, 2 * smooth * distance
        return last_step(((root(noisy) + root(noisy + 4 * start * goal)) / (2 * goal)) ** 2)
    (step,) = floats(step_size=step_size)
    check_step_size(step_size, smoothness, 0.5)
    left = goal - step * noise / batch
    return last_step(jnp.where(left > 0, ratio(distance, step * left), jnp.inf))


def sgd_convex_critical_batch_size(
    step_size: Any, target: Any, smoothness: Any, variance: Any
) -> jax.Array:
    """The batch size at which a constant step size reaches ε with the fewest examples, f convex.

        b* = 2γσ²/ε

    As for `sgd_nonconvex_critical_batch_size`, the floor takes up half of ε there.

    Args:
      step_size: γ ≤ 1/(2L).
      target: ε > 0, the mean gap that is asked for, in units of f.
      smoothness, variance: L and σ² as for `sgd_convex_bound`.

    Returns:
      b*, not rounded.

    Raises:
      ValueError: if an argument is negative, the target not positive or the step size above 1/(2L).

    References:
      Derived from theorem 2 of "SGD rates", lecture notes.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_convex_critical_batch_size(
      ...     0.5, target=0.25, smoothness=1.0, variance=16.0))
      64.0
    """
    step, goal, _, noise = floats(
        step_size=step_size, target=target, smoothness=smoothness, variance=variance
    )
    check_step_size(step_size, smoothness, 0.5)
    return 2 * step * noise / goal
