"""Projected gradient ascent that halves its step, as adaptive sharpness is measured with."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._ellipsoid import project_on_box, project_on_ellipsoid

_MOMENTUM = 0.75  # the part of the new point in the next; the rest is the last but one
_MIN_SUCCESS = 0.75  # halve the step where a smaller part of the steps was an improvement


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Ascent:
    """What an ascent has found. All numbers are of L(w + δ) − L(w).

    Attributes:
      best: the largest increase.
      best_step: after which of the steps 1, 2, … it was found; 0 is the start.
      norm: ‖δ‖₂ at the best point.
      halvings: how often the step was halved.
      trace: (num_steps,) the increase after each step.
    """

    best: Any
    best_step: Any
    norm: Any
    halvings: Any
    trace: Any


def checkpoints(num_steps: int) -> list[int]:
    """The steps, counted from 0, after which the step size is looked at.

    They are ⌈p_j n⌉ < n with p₀ = 0, p₁ = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).
    """
    before, part, found = 0.0, 0.22, []
    while (point := math.ceil(part * num_steps)) < num_steps:
        found.append(point)
        before, part = part, part + max(part - before - 0.03, 0.06)
    return sorted(set(found))


def ascend(
    increase_and_gradient: Callable[[Any], tuple[jax.Array, Any]],
    rho: jax.Array,
    scale: Any,
    start: Any,
    norm: str,
    num_steps: int,
) -> Ascent:
    """Climbs from a start within ‖δ ⊘ s‖_p ≤ ρ, one evaluation with its gradient a step.

    Args:
      increase_and_gradient: δ → L(w + δ) − L(w) of one batch, and its gradient in the shape of δ.
      rho: ρ.
      scale: s, in the shape of δ.
      start: first δ, any pytree for "linf", a flat vector (d,) for "l2".
      norm: "linf" or "l2".
      num_steps: number of steps.
    """
    points = checkpoints(num_steps)
    is_checkpoint = np.isin(np.arange(num_steps), points)
    last_point = np.array([max([p for p in points if p < i], default=0) for i in range(num_steps)])
    enough = np.ceil(_MIN_SUCCESS * (np.arange(num_steps) - last_point)).astype(np.int32)

    def moved(delta, step, gradient):
        if norm == "linf":
            return jax.tree.map(functools.partial(moved_in_box, step), delta, gradient, scale)
        return project_on_ellipsoid(delta + step * _unit(gradient) * scale, scale, rho)

    def moved_in_box(step, delta, gradient, scale):
        step, radius, signs = (x.astype(delta.dtype) for x in (step, rho, jnp.sign(gradient)))
        return project_on_box(delta + step * signs * scale, scale, radius)

    def climb(state, now):
        i, is_checkpoint, enough = now
        target = moved(state["delta"], state["step"], state["gradient"])
        delta = jax.tree.map(
            lambda new, old: _MOMENTUM * new + (1 - _MOMENTUM) * old, target, state["previous"]
        )
        value, gradient = increase_and_gradient(delta)

        is_better = value > state["best"]
        found = {
            "best": value,
            "best_gradient": gradient,
            "best_step": i + 1,
            "norm": optax.tree.norm(delta),
        }
        kept = _where(is_better, found, {name: state[name] for name in found})
        improvements = state["improvements"] + is_better.astype(jnp.int32)

        is_stalled = (state["step"] == state["last_step"]) & (kept["best"] == state["last_best"])
        halve = is_checkpoint & ((improvements < enough) | is_stalled)
        state = {
            **kept,
            "delta": delta,
            "previous": state["delta"],
            # After halving only the next gradient is taken at the best point; δ stays.
            "gradient": _where(halve, kept["best_gradient"], gradient),
            "step": jnp.where(halve, state["step"] / 2, state["step"]),
            "improvements": jnp.where(is_checkpoint, 0, improvements),
            "last_step": jnp.where(is_checkpoint, state["step"], state["last_step"]),
            "last_best": jnp.where(is_checkpoint, kept["best"], state["last_best"]),
            "halvings": state["halvings"] + halve.astype(jnp.int32),
        }
        return state, value

    # As one more step of the loop this compiles sooner, but dense networks then take four times as
    # long on CPU.
    value, gradient = increase_and_gradient(start)
    zero, step = jnp.zeros((), jnp.int32), 2 * rho
    state = {
        "best": value,
        "best_gradient": gradient,
        "best_step": zero,
        "norm": optax.tree.norm(start),
        "delta": start,
        "previous": start,
        "gradient": gradient,
        "step": step,
        "improvements": zero,
        "last_step": step,
        "last_best": value,
        "halvings": zero,
    }
    steps = jnp.arange(num_steps, dtype=jnp.int32)
    now = (steps, jnp.asarray(is_checkpoint), jnp.asarray(enough))
    state, trace = jax.lax.scan(climb, state, now)
    return Ascent(
        best=state["best"],
        best_step=state["best_step"],
        norm=state["norm"],
        halvings=state["halvings"],
        trace=trace,
    )


def _where(condition: jax.Array, tree: Any, other: Any) -> Any:
    """`jnp.where` of two pytrees, in the dtypes of the other."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b).astype(b.dtype), tree, other)


def _unit(gradient: jax.Array) -> jax.Array:
    """g/‖g‖, or 0; the squares of large numbers overflow, those of small ones vanish."""
    largest = jnp.max(jnp.abs(gradient))
    scaled = gradient / jnp.where(largest > 0, largest, 1)
    return scaled / jnp.maximum(jnp.linalg.norm(scaled), 1)
