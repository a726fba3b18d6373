"""Projected gradient ascent that halves its step, as adaptive sharpness is measured with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._around import Around
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
    around: Around, rho: jax.Array, scale: jax.Array, start: jax.Array, norm: str, num_steps: int
) -> Ascent:
    """Climbs from a start within ‖δ ⊘ s‖_p ≤ ρ, one evaluation with its gradient a step.

    Args:
      around: the loss of one batch.
      rho: ρ.
      scale: (d,) s.
      start: (d,) first δ.
      norm: "linf" or "l2".
      num_steps: number of steps.
    """
    points = checkpoints(num_steps)
    is_checkpoint = np.isin(np.arange(num_steps), points)
    last_point = np.array([max([p for p in points if p < i], default=0) for i in range(num_steps)])
    enough = np.ceil(_MIN_SUCCESS * (np.arange(num_steps) - last_point)).astype(np.int32)

    def moved(delta, step, gradient):
        if norm == "linf":
            return project_on_box(delta + step * jnp.sign(gradient) * scale, scale, rho)
        return project_on_ellipsoid(delta + step * _unit(gradient) * scale, scale, rho)

    def climb(state, now):
        i, is_checkpoint, enough = now
        target = moved(state["delta"], state["step"], state["gradient"])
        delta = _MOMENTUM * target + (1 - _MOMENTUM) * state["previous"]
        value, gradient = around.increase_and_gradient(delta)

        is_better = value > state["best"]
        found = {
            "best": value,
            "best_gradient": gradient,
            "best_step": i + 1,
            "norm": jnp.linalg.norm(delta),
        }
        kept = {
            name: jnp.where(is_better, new, state[name]).astype(state[name].dtype)
            for name, new in found.items()
        }
        improvements = state["improvements"] + is_better.astype(jnp.int32)

        is_stalled = (state["step"] == state["last_step"]) & (kept["best"] == state["last_best"])
        halve = is_checkpoint & ((improvements < enough) | is_stalled)
        state = {
            **kept,
            "delta": delta,
            "previous": state["delta"],
            # After halving only the next gradient is taken at the best point; δ stays.
            "gradient": jnp.where(halve, kept["best_gradient"], gradient),
            "step": jnp.where(halve, state["step"] / 2, state["step"]),
            "improvements": jnp.where(is_checkpoint, 0, improvements),
            "last_step": jnp.where(is_checkpoint, state["step"], state["last_step"]),
            "last_best": jnp.where(is_checkpoint, kept["best"], state["last_best"]),
            "halvings": state["halvings"] + halve.astype(jnp.int32),
        }
        return state, value

    # As one more step of the loop this compiles sooner, but dense networks then take four times as
    # long on CPU.
    value, gradient = around.increase_and_gradient(start)
    zero, step = jnp.zeros((), jnp.int32), 2 * rho
    state = {
        "best": value,
        "best_gradient": gradient,
        "best_step": zero,
        "norm": jnp.linalg.norm(start),
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


def _unit(gradient: jax.Array) -> jax.Array:
    """g/‖g‖, or 0; the squares of large numbers overflow, those of small ones vanish."""
    largest = jnp.max(jnp.abs(gradient))
    scaled = gradient / jnp.where(largest > 0, largest, 1)
    return scaled / jnp.maximum(jnp.linalg.norm(scaled), 1)
