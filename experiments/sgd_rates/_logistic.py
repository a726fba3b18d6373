"""Logistic regression: convex, with L and a bound on the variance from the data alone.

f_i(w) = log(1 + exp(−y_i x_iᵀw)) + ‖w‖²/(2n). The logistic function bends by 1/4 at most, so that
L = λ_max(XᵀX/n)/4 + 1/n, and no gradient of it is longer than ‖x_i‖: σ² = (1/n) Σ ‖x_i‖². The
penalty is in all components alike and adds no noise.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn
from jaxnoise import theory

from .._common import pick, say
from ..vanishing_gradients._logistic import Objective, binary, logistic_loss, solve
from ._config import Plan
from ._descend import descend, measure
from ._rows import records_of, row_of, running_mean, slope_of

MOST_SEEDS = 16
SHARES = (1.0, 1 / 4, 1 / 16)  # of the largest step size, 1/(2L)
PARTS_OF_K = (1 / 16, 1 / 4, 1.0)  # numbers of steps to which step sizes are tuned


def logistic(dataset: jn.data.Dataset, plan: Plan) -> dict[str, Any]:
    """The mean gap over the iterates, from w = 0, beside the bounds for convex functions."""
    features, label = binary(dataset)
    chosen = pick({"features": features, "label": label}, plan.examples, seed=0)
    features, label = np.asarray(chosen["features"], float), np.asarray(chosen["label"], float)
    n, d = features.shape
    objective = Objective(features, label, 1 / n)
    best = solve(objective)
    best_value = objective.value_and_gradient(best)[0]
    smooth = float(np.linalg.eigvalsh(features.T @ features / n)[-1] / 4 + 1 / n)
    variance = float(np.mean(np.sum(features**2, 1)))
    distance = float(best @ best)
    seeds, num_steps = min(plan.seeds, MOST_SEEDS), max(plan.steps // 2, 2)
    first, *others = plan.batch_sizes
    records, k = records_of(num_steps), np.arange(num_steps)
    args = {
        "smoothness": smooth,
        "variance": variance,
        "initial_squared_distance": distance,
    }

    limit = 1 / (2 * smooth)
    settings = {f"γ = {share / 2:g}/L": np.full(num_steps, share * limit) for share in SHARES}
    ends = [max(int(part * num_steps), 1) for part in PARTS_OF_K]
    for end in ends:
        step = theory.sgd_convex_step_size(end, **args, batch_size=first)
        settings[f"γ tuned to K = {end}"] = np.full(num_steps, float(step))
    decaying = theory.sgd_convex_step_size(k, **args, batch_size=first)
    settings["γ decaying"] = np.asarray(decaying)
    cells = [(name, steps, first) for name, steps in settings.items()]
    cells += [(f"γ = 0.125/L, B = {b}", np.full(num_steps, limit / 4), b) for b in others]

    rows, means = [], {}
    for batch in plan.batch_sizes:
        say(f"logistic regression on {dataset.info.name}, batch size {batch}, {seeds} seeds")
        own = [(name, steps) for name, steps, b in cells if b == batch]
        iterates = descend(
            jax.vmap(jax.random.key)(jnp.arange(seeds)),
            Partial(logistic_loss, jnp.float32(1 / n)),
            chosen,
            jnp.zeros((seeds, d)),
            jnp.asarray(np.stack([steps for _, steps in own]), jnp.float32),
            jnp.zeros(len(own)),
            jnp.asarray(records),
            batch_size=batch,
        )
        found = measure(Partial(logistic_loss, jnp.float32(1 / n)), chosen, iterates)
        gaps = np.asarray(found.value, float) - best_value
        for (name, steps), gap, noise in zip(own, gaps, np.asarray(found.variance), strict=True):
            weights = np.append(steps, steps[-1])
            means[name] = running_mean(gap, weights[records], records)
            bound = theory.sgd_convex_decaying_bound(weights, **args, batch_size=batch)
            largest = float(noise.mean(0).max())
            tighter = args | {"variance": largest}
            sharp = theory.sgd_convex_decaying_bound(weights, **tighter, batch_size=batch)
            rows.append(
                row_of(
                    name,
                    records,
                    means[name],
                    np.asarray(bound, float)[records],
                    sharp=np.asarray(sharp, float)[records],
                    step_size=float(steps[0]) if np.ptp(steps) == 0 else None,
                    batch_size=batch,
                    variance=largest,
                )
            )
    bound = np.asarray(
        theory.sgd_convex_tuned_bound(np.array(ends), **args, batch_size=first), float
    )
    nearest = [np.argmin(abs(records - end)) for end in ends]
    tuned = [means[f"γ tuned to K = {end}"][:, i] for end, i in zip(ends, nearest, strict=True)]
    return {
        "description": dataset.info.description,
        "num_examples": n,
        "num_features": d,
        "smoothness": smooth,
        "variance": variance,
        "initial_squared_distance": distance,
        "seeds": seeds,
        "steps": num_steps,
        "rows": rows,
        "tuned": {
            "steps": ends,
            "mean": np.mean(tuned, 1),
            "bound": bound,
            "bound_slope": slope_of(ends, bound[None])["slope"],
            "slope": slope_of(ends, np.stack(tuned, 1)),
        },
    }
