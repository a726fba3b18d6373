"""Worst-case sharpness within a ball around the parameters, plain and adaptive."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._checks import check_choice, check_count, check_key, check_positive, check_single
from .._results import Result
from .._streaming import check_chunk_size
from .._tree import num_examples
from ._around import Around, check_finite_nearby, full_precision, map_jobs, side_by_side
from ._ascent import ascend
from ._ellipsoid import uniform_in_ball

Scaling = Literal["none", "magnitude"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class WorstCaseSharpness(Result):
    """The largest increase of the loss that was found, for each batch.

    How well a search has converged shows in its trace: a `best_steps` at the last step, or no
    `step_halvings`, tells that more steps would have found more.

    Attributes:
      value: the mean of batch_values, in which a shorter last batch counts like any other.
      batch_values: (nb,) max L(w + δ) − L(w) of each batch, at least 0.
      batch_losses: (nb,) L(w) of each batch.
      best_losses: (nb,) max L(w + δ) of each batch.
      best_steps: (nb,) after which step the largest loss was found; 0 where none was larger than
        at the start.
      perturbation_norms: (nb,) ‖δ‖₂ of the largest loss.
      step_halvings: (nb,) how often the step was halved.
      traces: (nb, num_steps) loss after each step.
    """

    value: Any
    batch_values: Any
    batch_losses: Any
    best_losses: Any
    best_steps: Any
    perturbation_norms: Any
    step_halvings: Any
    traces: Any


def worst_case_sharpness(
    loss_fn: Callable,
    params: Any,
    data: Any,
    rho: Any,
    *,
    norm: Literal["linf", "l2"] = "linf",
    scaling: Scaling = "none",
    num_steps: int = 20,
    batch_size: int | None = None,
    num_restarts: int = 1,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
) -> WorstCaseSharpness:
    """The increase of the loss at the worst perturbation within a ball, mean over batches.

        S = (1/nb) Σ_batches max_{‖δ ⊘ c‖_p ≤ ρ} L_b(w + δ) − L_b(w)

    with c = 1, or c = |w| for the adaptive sharpness, which does not change where a layer is scaled
    up and the next one down. Weights that are exactly zero then stay fixed.

    The maximum is sought by gradient ascent from δ = 0: a step of 2ρ along c ∘ sign(g) or
    c ∘ g/‖g‖, projection on the ball, and Δ_{k+1} = 0.75·projected + 0.25·Δ_{k−1}. At certain
    checkpoints the step is halved where fewer than three quarters of the steps since the last one,
    or none at all, were an improvement; the next gradient is then taken at the best point. What is
    found is a lower bound of the maximum: of a linear loss and n steps, 1 − 4^−⌈n/2⌉ of it.

    A step costs one loss and its gradient. All batches and restarts run in one compiled program,
    small dense networks several at a time on an accelerator. New values of parameters, data or ρ
    compile nothing anew. Memory is about seven copies of the parameters and a chunk of examples.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of floating arrays; those of less than single precision are taken in it.
      data: batch of all n examples.
      rho: ρ > 0, in units of the weights, or relative to them with scaling "magnitude".
      norm: p, "linf" or "l2"; the latter over all parameters together.
      scaling: c, "none" or "magnitude".
      num_steps: steps of the ascent.
      batch_size: examples per batch, consecutive, the last batch perhaps shorter; None takes all n
        as one batch.
      num_restarts: searches per batch, of which the best counts: the first from δ = 0, the others
        from uniform points of the ball.
      key: typed key, needed for more than one restart.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `WorstCaseSharpness`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, or a loss is not finite.

    References:
      Kwon, Kim, Park, Choi, "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant
      Learning of Deep Neural Networks", 2021, definition 2. Andriushchenko, Croce, Müller, Hein,
      Flammarion, "A Modern Look at the Relationship between Sharpness and Generalization", 2023,
      eq. 1. Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
      Parameter-free Attacks", 2020, section 3 (the step size).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: batch["x"] * (w[0] + w[1])
      >>> data, w = {"x": jnp.array([1.0, 2.0, 4.0])}, jnp.array([2.0, 0.0])
      >>> plain = jn.sharpness.worst_case_sharpness(loss_fn, w, data, 0.5, batch_size=2)
      >>> [round(float(x), 3) for x in plain.batch_values]  # 2 ρ times the mean of x
      [1.5, 4.0]
      >>> round(float(plain.value), 3)
      2.75
    """
    check_choice(norm, "norm", ("linf", "l2"))
    check_choice(scaling, "scaling", ("none", "magnitude"))
    check_single(rho, "rho")
    check_positive(rho, "rho")
    check_count(num_steps, "num_steps")
    check_count(num_restarts, "num_restarts")
    check_chunk_size(batch_size, "batch_size")
    if num_restarts > 1:
        if key is None:
            raise ValueError("key is needed for random starts: give key=jax.random.key(…)")
        check_key(key)
    n = num_examples(data)
    around = Around.of(loss_fn, params, data, chunk_size)
    keys = None if num_restarts == 1 else key
    options = (norm, scaling, num_steps, min(batch_size or n, n), num_restarts)
    with full_precision():
        result, all_values = _search(around, rho, keys, options)
    check_finite_nearby(all_values, "rho")
    return result


@functools.partial(jax.jit, static_argnums=3)
def _search(around: Around, rho, key, options) -> tuple[WorstCaseSharpness, Any]:
    """The result, and the increases at all points of all searches."""
    norm, scaling, num_steps, batch_size, num_restarts = options
    num_batches = math.ceil(num_examples(around.data) / batch_size)
    center = around.center
    rho = jnp.asarray(rho, center.dtype)
    scale = scales(center, scaling)

    def first(restart, key):
        if key is None:
            return jnp.zeros_like(center)
        if norm == "linf":
            start = jax.random.uniform(key, center.shape, center.dtype, -1, 1)
        else:
            start = uniform_in_ball(key, center.shape, center.dtype)
        return jnp.where(restart == 0, 0, rho * scale * start)

    def search(job):
        batch = around.batch(job["batch"], batch_size)
        start = first(job["restart"], job["key"])
        if norm == "l2":  # its projection takes all parameters together
            ascent = ascend(batch.increase_and_gradient, rho, scale, start, norm, num_steps)
        else:
            leaves, starts = around.unflatten(scale), around.unflatten(start)
            ascent = ascend(batch.increase_and_gradients, rho, leaves, starts, norm, num_steps)
        return batch.mean_loss, ascent

    numbers = jnp.arange(num_batches * num_restarts)
    jobs = {
        "batch": numbers // num_restarts,
        "restart": numbers % num_restarts,
        "key": None if key is None else jax.random.split(key, len(numbers)),
    }
    searches = map_jobs(search, jobs, side_by_side(around))
    all_values = searches[1].best, searches[1].trace
    grouped = jax.tree.map(lambda x: x.reshape(num_batches, num_restarts, *x.shape[1:]), searches)
    best = jnp.argmax(grouped[1].best, axis=1)
    losses, ascent = jax.tree.map(lambda x: x[jnp.arange(num_batches), best], grouped)
    values = jnp.maximum(ascent.best, 0)
    result = WorstCaseSharpness(
        value=jnp.mean(values),
        batch_values=values,
        batch_losses=losses,
        best_losses=losses + values,
        best_steps=ascent.best_step,
        perturbation_norms=ascent.norm,
        step_halvings=ascent.halvings,
        traces=losses[:, None] + ascent.trace,
    )
    return result, all_values


def scales(center: jax.Array, scaling: Scaling) -> jax.Array:
    """(d,) c: ones, or the magnitudes of the weights."""
    return jnp.abs(center) if scaling == "magnitude" else jnp.ones_like(center)
