"""Trajectory-regularized SGD against plain SGD, for a bounded function that need not be convex."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_choice
from .._tree import is_concrete
from ._arguments import floats

Form = Literal["corrected", "sharp", "printed"]

_SGD = {"printed": (4, 1 / 4), "corrected": (8, 1 / 2), "sharp": (16 / 3, 1 / 3)}
_TRSGD = {"corrected": 72.0, "sharp": 40.5}


def sgd_bounded_nonconvex_bound(
    num_iterates: Any,
    smoothness: Any,
    variance: Any,
    value_bound: Any,
    *,
    batch_size: Any = 1,
    form: Form = "corrected",
) -> jax.Array:
    """Bounds the mean squared gradient norm of SGD with step size 1/(2ℓ), |f| ≤ B.

        (1/T) Σ_{t=1}^T E‖∇f(w_t)‖² ≤ 8ℓB/T + σ²/(2M)            "corrected"
                                    ≤ 16ℓB/(3T) + σ²/(3M)         "sharp"
                                    ≤ 4ℓB/T + σ²/(4M)             "printed", which is false

    A step of SGD with η ≤ 1/(2ℓ) lowers f by (η/2)‖∇f(w_t)‖² − ησ²/(4M) at least, in expectation
    (lemma 1 of the paper). Summed over T steps, with f(w_1) − f(w_{T+1}) ≤ 2B, and divided by ηT/2
    with η = 1/(2ℓ), this gives 8ℓB/T + σ²/(2M): twice what is printed. The printed one fails for
    f = −cos w with noise of σ = 0.3 (ℓ = B = 1): 0.0296 in the long run against 0.0227. Before
    lemma 1 is rounded down, the decrease is (3η/4)‖∇f(w_t)‖² − ησ²/(4M), which is the sharp one.

    Args:
      num_iterates: T ≥ 1; the iterates are w_1, …, w_T, of which w_1 is the start.
      smoothness: ℓ > 0, in units of f over squared units of w.
      variance: σ² ≥ E‖g − ∇f‖² for the gradient of a single example, in squared units of the
        gradient.
      value_bound: B ≥ |f|, in units of f.
      batch_size: M independent examples in each stochastic gradient.
      form: "corrected", "sharp" or "printed".
        Arrays are broadcast against each other.

    Returns:
      The bound, in squared units of the gradient.

    Raises:
      ValueError: if an argument is negative, T is zero, or the form is unknown.

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small
      Batch Sizes", IJCAI 2019, theorem 1.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.sgd_bounded_nonconvex_bound(
      ...     32, smoothness=1.0, variance=1.0, value_bound=1.0, batch_size=4))
      0.375
    """
    check_choice(form, "form", tuple(_SGD))
    count, smooth, noise, most, batch = floats(
        num_iterates=num_iterates,
        smoothness=smoothness,
        variance=variance,
        value_bound=value_bound,
        batch_size=batch_size,
    )
    start, floor = _SGD[form]
    return start * smooth * most / count + floor * noise / batch


def trsgd_nonconvex_bound(
    num_rounds: Any,
    num_inner_steps: Any,
    smoothness: Any,
    variance: Any,
    gradient_bound: Any,
    value_bound: Any,
    *,
    form: Form = "corrected",
) -> jax.Array:
    """Bounds the mean squared gradient norm of TRSGD at batch size 1 with λ = 2ℓ, |f| ≤ B.

        (1/T) Σ_{t=1}^T E‖∇f(w_t)‖² ≤ 8ℓB/T + 72(σ² + g²)/S           "corrected"
                                    ≤ 8ℓB/T + 40.5(σ² + g²)/S         "sharp"
                                    ≤ 4ℓB/T + 72ℓ²(σ² + g²)/S         "printed", which is false

    for the outer iterates w_1, …, w_T, each the end of S steps of SGD with η_k = 1/((λ − δ)k) on
    G_t(w) = f(w) + (λ/2)‖w − w_{t−1}‖². The batch size isn't in it: more inner steps do for TRSGD
    what larger batches do for SGD.

    The printed bound has ℓ² in units that don't fit, and half of the first term. It fails for
    f = 100 sin(w/100) with σ = 1 and S = 10: 0.0399 against 0.0028. What the proof gives:

    - f(w_{t−1}) − f(w_t) ≥ ‖∇f(w_t)‖²/(2λ) − ‖∇G_t(w_t)‖²/(2λ), since λ ≥ δ. Summed over t, with
      |f| ≤ B, the mean of E‖∇f(w_t)‖² is at most 4λB/T plus that of E‖∇G_t(w_t)‖².
    - ‖∇G_t(w_t)‖ ≤ (λ + ℓ)‖w_t − w*_t‖ with w*_t the minimum of the (λ − δ)-strongly convex G_t.
    - Let V = σ² + g², r = λ/(λ − δ) and a_k V/(λ − δ)² bound E‖u_k − w*_t‖² of the inner iterates.
      λ‖u_{k+1} − w_{t−1}‖ is at most ρ_k √V in mean square, ρ_0 = 0, ρ_k = |1 − r/k|ρ_{k−1} + r/k,
      and a_{k+1} = (1 − 2/k)a_k + (1 + ρ_{k−1})²/k², where a_1 drops out.
    - With λ = 2ℓ and 0 ≤ δ ≤ ℓ, r lies in [1, 2] and (λ + ℓ)²/(λ − δ)² = 9r²/4. The product
      (9r²/4)·S·a_{S+1} is largest at r = 2 and S = 2: 9·2·(9/4) = 40.5. It tends to 36.

    Args:
      num_rounds: T ≥ 1, outer rounds.
      num_inner_steps: S ≥ 1, steps in each round.
      smoothness: ℓ > 0, at least the non-convexity δ, in units of f over squared units of w.
      variance: σ² ≥ E‖∇f(w; ξ) − ∇f(w)‖², in squared units of the gradient.
      gradient_bound: g ≥ ‖∇f(w)‖, in units of the gradient.
      value_bound: B ≥ |f|, in units of f.
      form: "corrected", "sharp" or "printed".
        Arrays are broadcast against each other.

    Returns:
      The bound, in squared units of the gradient.

    Raises:
      ValueError: if an argument is negative, T or S is zero, or the form is unknown.

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small
      Batch Sizes", IJCAI 2019, theorem 2; the corrections are ours.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.theory.trsgd_nonconvex_bound(
      ...     16, num_inner_steps=288, smoothness=1.0, variance=1.0, gradient_bound=1.0,
      ...     value_bound=1.0))
      1.0
    """
    check_choice(form, "form", ("corrected", "sharp", "printed"))
    rounds, inner, smooth, noise, slope, most = floats(
        num_rounds=num_rounds,
        num_inner_steps=num_inner_steps,
        smoothness=smoothness,
        variance=variance,
        gradient_bound=gradient_bound,
        value_bound=value_bound,
    )
    moment = (noise + slope**2) / inner
    if form == "printed":
        return 4 * smooth * most / rounds + 72 * smooth**2 * moment
    return 8 * smooth * most / rounds + _TRSGD[form] * moment


def trsgd_nonconvex_step_size(inner_step: Any, weight: Any, nonconvexity: Any) -> jax.Array:
    """The step size of TRSGD's inner steps.

        η_k = 1/((λ − δ)k),   k = 1, …, S

    f + (λ/2)‖w − a‖² is (λ − δ)-strongly convex where f + (δ/2)‖w‖² is convex. The bound of
    `trsgd_nonconvex_bound` takes λ = 2ℓ. In practice `jn.transforms.trsgd` has a learning rate of
    its own in place of 1/(λ − δ).

    Args:
      inner_step: k ≥ 1, counted from 1 after each anchor.
      weight: λ > δ, in units of f over squared units of w.
      nonconvexity: δ ≥ 0, in the same units; 0 for convex f, never more than ℓ.
        Arrays are broadcast against each other.

    Returns:
      η_k, in units of 1/λ.

    Raises:
      ValueError: if δ is negative, λ ≤ δ, or k is zero.

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small
      Batch Sizes", IJCAI 2019, definition 1.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> jn.theory.trsgd_nonconvex_step_size(jnp.array([1, 2, 4]), weight=2.0, nonconvexity=1.0)
      Array([1.  , 0.5 , 0.25], dtype=float32)
    """
    k, pull, bend = floats(inner_step=inner_step, weight=weight, nonconvexity=nonconvexity)
    if is_concrete(weight, nonconvexity) and not (np.asarray(pull) > np.asarray(bend)).all():
        raise ValueError(f"weight must be above nonconvexity, got {weight} and {nonconvexity}")
    return 1 / ((pull - bend) * k)


def trsgd_nonconvex_num_steps(
    target: Any,
    smoothness: Any,
    variance: Any,
    gradient_bound: Any,
    value_bound: Any,
    *,
    form: Literal["corrected", "sharp"] = "corrected",
) -> tuple[jax.Array, jax.Array]:
    """How many rounds and inner steps TRSGD needs until the bound is at most ε.

        T = 16ℓB/ε,   S = 2c(σ² + g²)/ε,   c = 72 ("corrected") or 40.5 ("sharp")

    rounded up. Of all T and S that reach ε these take the fewest steps in all, T·S ∝ 1/ε², as many
    in order as SGD needs.

    Args:
      target: ε > 0, the mean of E‖∇f(w_t)‖² that is asked for: a squared norm.
      smoothness, variance, gradient_bound, value_bound, form: ℓ, σ², g, B and the form as for
        `trsgd_nonconvex_bound`.

    Returns:
      (T, S), whole numbers of floating type, at least 1.

    Raises:
      ValueError: if an argument is negative, the target not positive, or the form unknown.

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small
      Batch Sizes", IJCAI 2019, after theorem 2; with the corrected constants.

    Example:
      >>> import jaxnoise as jn
      >>> rounds, inner_steps = jn.theory.trsgd_nonconvex_num_steps(
      ...     0.5, smoothness=1.0, variance=0.5, gradient_bound=0.5, value_bound=1.0)
      >>> int(rounds), int(inner_steps)
      (32, 216)
    """
    check_choice(form, "form", tuple(_TRSGD))
    goal, smooth, noise, slope, most = floats(
        target=target,
        smoothness=smoothness,
        variance=variance,
        gradient_bound=gradient_bound,
        value_bound=value_bound,
    )
    rounds = jnp.maximum(jnp.ceil(16 * smooth * most / goal), 1)
    inner = jnp.maximum(jnp.ceil(2 * _TRSGD[form] * (noise + slope**2) / goal), 1)
    return rounds, inner
