"""Maximisation over the cube [−1, 1]^m: SciPy's L-BFGS-B, and spectral projected gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_SUFFICIENT = 1e-4  # the part of the expected increase that a step must bring
_SHORTEST = 2.0**-20  # the part of a step at which the line search gives up
_REACH = 1e6  # a step takes coordinates whose slope is above 1/reach of the largest to the walls
_FIRST_SLOPE = 100.0
_TOLERANCE = 1e-5  # of the slopes where the search ends, over the largest at its start


def maximize_lbfgsb(
    evaluate: Callable, start: np.ndarray, max_iterations: int
) -> tuple[float, int, int, bool]:
    """L-BFGS-B in double precision on the host.

    The function is scaled so that its largest first slope is `_FIRST_SLOPE`: the first step, which
    is as long as the slopes, then takes most coordinates to the walls.

    Args:
      evaluate: (m,) y → (value, (m,) gradient).
      start: (m,) y within the cube.
      max_iterations: of L-BFGS-B.

    Returns:
      (largest value met, iterations, evaluations, converged).
    """
    from scipy.optimize import Bounds, minimize  # takes a third of a second to import

    values = []

    def slope(y):
        value, gradient = (np.asarray(x, np.float64) for x in jax.device_get(evaluate(y)))
        values.append(float(value))
        return values[-1], gradient

    first = slope(start)
    scale = np.abs(first[1]).max() / _FIRST_SLOPE
    if not np.isfinite([first[0], scale]).all() or scale == 0:
        return first[0] if scale == 0 else np.nan, 0, 1, bool(scale == 0)

    def descent(y):
        value, gradient = first if np.array_equal(y, start) else slope(y)
        return -value / scale, -gradient / scale

    found = minimize(
        descent,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(-1, 1),
        options={"maxiter": max_iterations, "gtol": _FIRST_SLOPE * _TOLERANCE, "ftol": 1e-9},
    )
    best = max(values) if np.isfinite(values).all() else np.nan
    return best, found.nit, len(values), found.status == 0


def maximize_spectral(
    evaluate: Callable, start: jax.Array, max_iterations: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Projected gradient ascent with spectral steps and a line search, one evaluation a trial.

    From y with gradient g the search is along clip(y + αg) − y, halved until the value rises. With
    s = Δy and q = Δg of the last step, α = s·s / (−s·q), the inverse curvature, where that is
    positive; where the function is convex along s, the step goes to the walls.

    Args:
      evaluate: (m,) y → (value, (m,) gradient).
      start: (m,) y within the cube.
      max_iterations: steps that bring an increase.

    Returns:
      (value, iterations, evaluations, converged).

    References:
      Birgin, Martínez, Raydan, "Nonmonotone Spectral Projected Gradient Methods on Convex Sets",
      2000, algorithm 2.2 (here monotone).
    """

    def longest(gradient):
        return _REACH / jnp.maximum(jnp.max(jnp.abs(gradient)), jnp.finfo(gradient.dtype).tiny)

    def is_stationary(y, gradient, first_slope):
        return jnp.max(jnp.abs(jnp.clip(y + gradient / first_slope, -1, 1) - y)) <= _TOLERANCE

    def goes_on(state):
        return ~state["converged"] & (state["part"] > _SHORTEST) & (state["done"] < max_iterations)

    def step(state):
        y, value, gradient = state["y"], state["value"], state["gradient"]
        direction = jnp.clip(y + state["length"] * gradient, -1, 1) - y
        trial = y + state["part"] * direction
        new_value, new_gradient = evaluate(trial)
        slope = jnp.max(jnp.abs(new_gradient))
        is_first = state["evaluations"] == 0
        first_slope = jnp.where(is_first & (slope > 0), slope, state["first_slope"])
        expected = state["part"] * jnp.vdot(gradient, direction)
        is_accepted = new_value >= value + _SUFFICIENT * expected
        moved = trial - y
        bend = -jnp.vdot(moved, new_gradient - gradient)
        length = jnp.where(bend > 0, jnp.vdot(moved, moved) / bend, jnp.inf)
        accepted = {
            "y": trial,
            "value": new_value,
            "gradient": new_gradient,
            "length": jnp.clip(length, 1 / longest(new_gradient), longest(new_gradient)),
            "part": jnp.ones_like(value),
            "done": state["done"] + 1,
            "converged": is_stationary(trial, new_gradient, first_slope),
        }
        rejected = {name: state[name] for name in accepted} | {"part": state["part"] / 2}
        chosen = jax.tree.map(functools.partial(jnp.where, is_accepted), accepted, rejected)
        is_finite = state["is_finite"] & jnp.isfinite(new_value)
        tried = {"evaluations": state["evaluations"] + 1, "is_finite": is_finite}
        return state | chosen | tried | {"first_slope": first_slope}

    # The first trial is the start itself, so that `evaluate` is compiled once and not twice.
    value = jnp.full((), -jnp.inf, jax.eval_shape(evaluate, start)[0].dtype)
    state: dict[str, Any] = {
        "y": start,
        "value": value,
        "gradient": jnp.zeros_like(start),
        "length": jnp.ones_like(value),
        "part": jnp.ones_like(value),
        "first_slope": jnp.ones_like(value),
        "done": jnp.full((), -1, jnp.int32),
        "evaluations": jnp.zeros((), jnp.int32),
        "converged": jnp.zeros((), bool),
        "is_finite": jnp.ones((), bool),
    }
    state = jax.lax.while_loop(goes_on, step, state)
    found = jnp.where(state["is_finite"], state["value"], jnp.nan)
    return found, state["done"], state["evaluations"], state["converged"]
