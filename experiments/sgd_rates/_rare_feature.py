"""A single weight of a feature that few examples have: the variance at the solution bounds nothing.

Of n examples a share p has the feature, a_i² = 1/p, so that L = μ = 1, and targets ±1 in equal
numbers; x* = 0. Far from it an example either says nothing or pulls hard. With h = E(1 − γa²)² =
(1 − γ)² + γ²(1/p − 1) and the variance σ² = 1 at x*, the gap ends at (γ²/2)/(1 − h), which may be
above γσ², the floor that σ² would give if it bounded the variance.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from .._common import say
from ._config import Plan
from ._descend import descend, measure
from ._regression import squared_errors

NUM_EXAMPLES, SHARE, STEP_SIZE, NUM_STEPS = 100, 0.18, 0.3, 300


def examples() -> dict[str, jax.Array]:
    """Rows a (n, 1) and targets b (n,)."""
    has = np.arange(NUM_EXAMPLES) < SHARE * NUM_EXAMPLES
    sign = np.where(np.arange(NUM_EXAMPLES) % 2, 1.0, -1.0)
    return {"a": jnp.asarray(has / np.sqrt(SHARE))[:, None], "b": jnp.asarray(has * sign)}


def exact_gap() -> float:
    """E[f(x)] − f* in the long run."""
    kept = (1 - STEP_SIZE) ** 2 + STEP_SIZE**2 * (1 / SHARE - 1)
    return STEP_SIZE**2 / 2 / (1 - kept)


def rare_feature(plan: Plan) -> dict[str, Any]:
    """The gap of the second half of the steps, over the floors of the bounds."""
    say(f"a rare feature, {plan.seeds} seeds")
    data, records = examples(), np.arange(NUM_STEPS + 1)
    iterates = descend(
        jax.vmap(jax.random.key)(jnp.arange(plan.seeds)),
        Partial(squared_errors),
        data,
        jnp.zeros((plan.seeds, 1)),
        jnp.full((1, NUM_STEPS), STEP_SIZE),
        jnp.zeros(1),
        jnp.asarray(records),
        batch_size=1,
    )[0]
    late = iterates[:, NUM_STEPS // 2 :]
    gaps = np.asarray(late[..., 0] ** 2 / 2, float).mean(1)
    variance = measure(Partial(squared_errors), data, late).variance
    at_best = float(measure(Partial(squared_errors), data, jnp.zeros(1)).variance)
    return {
        "step_size": STEP_SIZE,
        "share": SHARE,
        "gaps": gaps,
        "exact": exact_gap(),
        "variance_at_best": at_best,
        "variance_on_the_way": float(variance.mean()),
    }
