"""Schedules and how fast they decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes

from .. import schedules as _schedules
from .._checks import check_count, check_function, check_numbers
from ._axes import axes_or_new


def schedule(
    schedules: optax.Schedule | Mapping[str, optax.Schedule],
    num_steps: int,
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Draws the values η_t of schedules, t = 0, …, num_steps.

    Args:
      schedules: one schedule, step count → value, or title → schedule.
      num_steps: number of steps, at least 1.
      ax: axes to draw into; None makes a figure.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Raises:
      ValueError: if there are no steps.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, figures 4 and 6.

    Example:
      >>> import optax
      >>> import jaxnoise as jn
      >>> ax = jn.plotting.schedule({"cosine": optax.cosine_decay_schedule(0.1, 200)}, 200)
      >>> len(ax.lines[0].get_ydata())
      201
    """
    check_count(num_steps, "num_steps")
    steps = jnp.arange(num_steps + 1)
    curves = {title: jax.vmap(s)(steps) for title, s in _by_title(schedules).items()}
    ax = _draw(curves, ax, style)
    ax.set(xlabel="step t", ylabel=r"$\eta_t$")
    return ax


def decay_rates(
    schedules: optax.Schedule | Mapping[str, optax.Schedule],
    num_steps: int,
    ax: Axes | None = None,
    *,
    admissible: Any = None,
    **style: Any,
) -> Axes:
    """Draws the decay rates γ_t = η_{t+1}/η_t of schedules, t = 0, …, num_steps − 1.

    Args:
      schedules: one schedule, step count → value, or title → schedule.
      num_steps: number of steps, at least 1.
      ax: axes to draw into; None makes a figure.
      admissible: lower bound of the admissible rates, a number or (num_steps,), as
        `jn.schedules.admissible_decay` gives; the region from there to 1 is shaded, but for steps
        where it is NaN.
      style: options for `Axes.plot`.

    Returns:
      The axes.

    Raises:
      ValueError: if there are no steps.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, figures 5 and 7.

    Example:
      >>> import optax
      >>> import jaxnoise as jn
      >>> schedules = {p: optax.polynomial_schedule(0.1, 0.0, p, 200) for p in (0.5, 2)}
      >>> bound = jn.schedules.admissible_decay(2.0)
      >>> ax = jn.plotting.decay_rates(schedules, 200, admissible=bound)
      >>> len(ax.lines), len(ax.collections)
      (2, 1)
    """
    curves = {
        title: _schedules.decay_rates(s, num_steps) for title, s in _by_title(schedules).items()
    }
    ax = axes_or_new(ax)
    if admissible is not None:
        check_numbers(admissible, "admissible")
        if np.shape(admissible) not in ((), (1,), (num_steps,)):
            raise ValueError(
                f"admissible must be a number or ({num_steps},) of them, got {np.shape(admissible)}"
            )
        low = np.broadcast_to(np.asarray(admissible), num_steps)
        ax.fill_between(np.arange(num_steps), low, 1, color="0.88", linewidth=0, label="admissible")
    _draw(curves, ax, style)
    ax.set(xlabel="step t", ylabel=r"$\gamma_t = \eta_{t+1}/\eta_t$")
    return ax


def _by_title(schedules: Any) -> Mapping[Any, optax.Schedule]:
    named = schedules if isinstance(schedules, Mapping) else {"": schedules}
    for schedule in named.values():
        check_function(schedule, "each of schedules")
    return named


def _draw(curves: Mapping[Any, Any], ax: Axes | None, style: dict[str, Any]) -> Axes:
    """A line for each curve, with a legend where they have titles."""
    ax = axes_or_new(ax)
    for title, curve in curves.items():
        curve = np.asarray(curve)
        ax.plot(np.where(np.isfinite(curve), curve, np.nan), label=str(title), **style)
    if any(title != "" for title in curves):
        ax.legend(fontsize="small")
    return ax
