"""Linear regression, min (1/2n) Σ (a_iᵀx − b_i)², whose L and μ are eigenvalues of AᵀA/n.

The rows are drawn so that these eigenvalues lie evenly on a logarithmic scale from 1 down to 0.1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxnoise import theory

from .._common import say
from ._config import Plan
from ._descend import descend, measure
from ._rows import records_of, row_of, slope_of

NUM_EXAMPLES, DIMENSION, CONDITION = 200, 10, 10.0
VARIANCE = 1.0  # σ² of the noise that is added, for a single example
SHARES = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)  # of the largest step size
SHARE = 1 / 4  # for the batch sizes; from here on the floor is nearly proportional to γ


def squared_errors(x: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """(a_iᵀx − b_i)²/2 of each example, (B,)."""
    return (batch["a"] @ x - batch["b"]) ** 2 / 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """The drawn problem, the same in every run, and its runs."""

    plan: Plan
    a: np.ndarray  # (n, d)
    b: np.ndarray  # (n,)
    best: np.ndarray  # (d,)
    start: np.ndarray  # (d,)

    @property
    def curvature(self) -> np.ndarray:
        return self.a.T @ self.a / len(self.a)

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the Hessian, rising: from μ to L."""
        return np.linalg.eigvalsh(self.curvature)

    @property
    def data(self) -> dict[str, jax.Array]:
        return {"a": jnp.asarray(self.a, jnp.float32), "b": jnp.asarray(self.b, jnp.float32)}

    @property
    def records(self) -> np.ndarray:
        return records_of(self.plan.steps)

    def gaps(self, iterates: np.ndarray) -> np.ndarray:
        """f(x) − f*."""
        away = iterates - self.best
        return np.sum(away @ self.curvature * away, -1) / 2

    def iterates(self, steps: np.ndarray, variances: Any, batch_size: int | None) -> np.ndarray:
        """(R, S, M, d) for step sizes (R, K)."""
        found = descend(
            jax.vmap(jax.random.key)(jnp.arange(self.plan.seeds)),
            Partial(squared_errors),
            self.data,
            jnp.tile(jnp.asarray(self.start, jnp.float32), (self.plan.seeds, 1)),
            jnp.asarray(steps, jnp.float32),
            jnp.asarray(variances, jnp.float32),
            jnp.asarray(self.records),
            batch_size=batch_size,
        )
        return np.asarray(found, float)

    def variances(self, iterates: np.ndarray) -> np.ndarray:
        """E‖∇f_i(x) − ∇f(x)‖² for an example drawn from the data."""
        points = jnp.asarray(iterates, jnp.float32)
        return np.asarray(measure(Partial(squared_errors), self.data, points).variance, float)

    def row(
        self, name: str, steps: np.ndarray, gaps: np.ndarray, variance: float, batch: int
    ) -> dict[str, Any]:
        """Gaps (S, M) of runs with steps (K,) beside the bounds for σ² and B."""
        args = {
            "smoothness": float(self.eigenvalues[-1]),
            "strong_convexity": float(self.eigenvalues[0]),
            "variance": variance,
            "initial_gap": float(self.gaps(self.start)),
            "batch_size": batch,
        }
        sharp = theory.sgd_strongly_convex_decaying_bound(steps, **args)
        bound = sharp = np.asarray(sharp, float)[self.records]
        step_size = None
        if np.ptp(steps) == 0:
            step_size = float(steps[0])
            bound = theory.sgd_strongly_convex_bound(step_size, self.records, **args)
        settings = {"step_size": step_size, "batch_size": batch, "variance": variance}
        return row_of(name, self.records, gaps, bound, sharp=sharp, **settings)

    def floors(self, gaps: np.ndarray) -> np.ndarray:
        """(S,) means of the gaps (S, M) over the second half of the steps."""
        return gaps[:, self.records >= self.plan.steps / 2].mean(1)


def drawn_problem(plan: Plan) -> Problem:
    random = np.random.default_rng(0)
    left = np.linalg.qr(random.normal(size=(NUM_EXAMPLES, DIMENSION)))[0]
    right = np.linalg.qr(random.normal(size=(DIMENSION, DIMENSION)))[0]
    scales = np.sqrt(NUM_EXAMPLES * np.geomspace(1, 1 / CONDITION, DIMENSION))
    a = left * scales @ right.T
    b = a @ random.normal(size=DIMENSION) + random.normal(size=NUM_EXAMPLES)
    best = np.linalg.lstsq(a, b)[0]
    direction = random.normal(size=DIMENSION)
    return Problem(plan, a, b, best, best + 4 * direction / np.linalg.norm(direction))


def exact_floor(step_size: Any, variance: Any, eigenvalues: np.ndarray) -> Any:
    """E[f(x)] − f* in the long run under isotropic noise: (γσ²/2d) Σ_i 1/(2 − γλ_i)."""
    step = np.asarray(step_size, float)
    return step * variance * np.mean(1 / (2 - step[..., None] * eigenvalues), -1) / 2


def regression(plan: Plan) -> dict[str, Any]:
    """Runs with noise of known variance, and with components drawn from the data."""
    problem = drawn_problem(plan)
    return {
        "smoothness": problem.eigenvalues[-1],
        "strong_convexity": problem.eigenvalues[0],
        "largest_component": np.max(np.sum(problem.a**2, 1)),
        "initial_gap": problem.gaps(problem.start),
        "batch_sizes": plan.batch_sizes,
        "shares": SHARES,
        "known": with_known_variance(problem),
        "drawn": with_drawn_components(problem),
    }


def with_known_variance(problem: Problem) -> dict[str, Any]:
    """The full gradient plus normal noise of variance σ²/B: all settings in one program."""
    plan, eigenvalues = problem.plan, problem.eigenvalues
    smooth, convex = float(eigenvalues[-1]), float(eigenvalues[0])
    first, *others = plan.batch_sizes
    say(f"linear regression, noise of known variance, {plan.seeds} seeds")
    gap = float(problem.gaps(problem.start))
    tuned = theory.sgd_strongly_convex_step_size(
        plan.steps, smooth, convex, VARIANCE, gap, batch_size=first
    )
    decaying = theory.sgd_strongly_convex_decaying_step_size(np.arange(plan.steps), smooth, convex)
    constant = {f"γ = {share:g}/L": (share / smooth, first) for share in SHARES}
    constant["γ tuned to K"] = (float(tuned), first)
    constant |= {f"γ = {SHARE:g}/L, B = {b}": (SHARE / smooth, b) for b in others}
    settings = {name: (np.full(plan.steps, step), b) for name, (step, b) in constant.items()}
    settings["γ decaying"] = (np.asarray(decaying), first)
    steps, batches = zip(*settings.values(), strict=True)
    gaps = problem.gaps(problem.iterates(np.stack(steps), VARIANCE / np.array(batches), None))
    found = dict(zip(settings, gaps, strict=True))
    floors = {name: problem.floors(one) for name, one in found.items()}
    by_step = np.stack([floors[f"γ = {share:g}/L"] for share in SHARES], 1)
    by_batch = [floors[f"γ = {SHARE:g}/L"], *(floors[f"γ = {SHARE:g}/L, B = {b}"] for b in others)]
    exact = exact_floor(np.array(SHARES) / smooth, VARIANCE / first, eigenvalues)
    small = np.array(SHARES) <= SHARE
    return {
        "rows": [
            problem.row(name, one, found[name], VARIANCE, b) for name, (one, b) in settings.items()
        ],
        "floors_by_step": by_step,
        "exact_by_step": exact,
        "slope_by_step": slope_of(np.array(SHARES)[small], by_step[:, small]),
        "exact_slope_by_step": slope_of(np.array(SHARES)[small], exact[None, small])["slope"],
        "floors_by_batch": np.stack(by_batch, 1),
        "exact_by_batch": exact_floor(SHARE / smooth, VARIANCE, eigenvalues)
        / np.array(plan.batch_sizes),
        "slope_by_batch": slope_of(plan.batch_sizes, np.stack(by_batch, 1)) if others else None,
    }


def with_drawn_components(problem: Problem) -> dict[str, Any]:
    """Batches drawn with replacement: a program for each size. σ² is the largest along the runs.

    Single components allow no larger step than 1/max‖a_i‖².
    """
    first = problem.plan.batch_sizes[0]
    largest = float(np.max(np.sum(problem.a**2, 1)))
    rows, floors = [], {}
    for batch in problem.plan.batch_sizes:
        say(f"linear regression, components drawn from the data, batch size {batch}")
        shares = [1.0, 1 / 2, 1 / 4, 1 / 8] if batch == first else [SHARE]
        steps = np.array(shares)[:, None] / largest * np.ones(problem.plan.steps)
        iterates = problem.iterates(steps, np.zeros(len(shares)), batch)
        gaps, variances = problem.gaps(iterates), problem.variances(iterates).mean(1)
        for share, one, gap, variance in zip(shares, steps, gaps, variances, strict=True):
            name = f"γ = {share:g}/max‖a‖², B = {batch}"
            rows.append(problem.row(name, one, gap, float(variance.max()), batch))
            floors[share, batch] = problem.floors(gap)
    by_step = np.stack([floors[share, first] for share in (1 / 2, 1 / 4, 1 / 8)], 1)
    by_batch = np.stack([floors[SHARE, b] for b in problem.plan.batch_sizes], 1)
    many = len(problem.plan.batch_sizes) > 1
    return {
        "rows": rows,
        "slope_by_step": slope_of((1 / 2, 1 / 4, 1 / 8), by_step),
        "slope_by_batch": slope_of(problem.plan.batch_sizes, by_batch) if many else None,
    }
