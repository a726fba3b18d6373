"""Whether a family of smoothed functions is nice: followed minimisers, convexity around them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._checks import check_count, check_key, check_positive
from .._results import Result
from .._streaming import map_examples
from .._tree import as_partial, is_concrete
from ._checks import check_scalar_function, degrees, floating, for_each_degree
from ._directions import Distribution, Method, directions
from ._smoothed import CHUNK_NUMBERS, Smoothed, check_smoothing

_NEWTON_STEPS = 40
_HAZAN_RADIUS = 3.0  # of the ball in which σ-nice asks for convexity, in units of δ


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class NiceReport(Result):
    """What was found at each of M degrees of smoothing; `print` shows it as a table.

    Attributes:
      deltas: (M,) δ_m.
      radius_factors: (M,) d_m.
      minimizers: x*_{δ_m}, the lowest minimum of f̂_{δ_m} found near x*; leaves (M, …).
      moves: (M,) ‖x*_{δ_m} − x*_{δ_{m+1}}‖, to x* in the last stage.
      allowed_moves: (M,) δ_m − δ_{m+1}, with δ_{M+1} = 0.
      distances: (M,) ‖x*_{δ_m} − x*‖.
      convexity: (M,) the smallest eigenvalue of the Hessian of f̂_{δ_m} that was met within
        d_m δ_m of x*.
      convex_radii: (M,) the largest distance from x* within which no eigenvalue was met that is not
        positive.
      halving_moves: (M,) ‖x*_{δ_m} − x*_{δ_m/2}‖.
      halving_convexity: (M,) the smallest eigenvalue met within 3δ_m of x*_{δ_m}.
    """

    deltas: Any
    radius_factors: Any
    minimizers: Any
    moves: Any
    allowed_moves: Any
    distances: Any
    convexity: Any
    convex_radii: Any
    halving_moves: Any
    halving_convexity: Any

    @property
    def follows(self) -> Any:
        """(M,) whether ‖x*_{δ_m} − x*_{δ_{m+1}}‖ ≤ δ_m − δ_{m+1}; condition (i) of new σ-nice."""
        return self.moves <= self.allowed_moves

    @property
    def is_convex(self) -> Any:
        """(M,) whether the convexity is positive; condition (ii) of new σ-nice."""
        return self.convexity > 0

    @property
    def is_within_delta(self) -> Any:
        """(M,) whether ‖x*_{δ_m} − x*‖ ≤ δ_m; proposition 3.2 (i)."""
        return self.distances <= self.deltas

    @property
    def is_new_nice(self) -> Any:
        """Whether all samples agree with new σ-nice."""
        return (self.follows & self.is_convex).all()

    @property
    def is_nice(self) -> Any:
        """Whether all samples agree with σ-nice: moves of δ/2 at most, convex within 3δ."""
        return ((self.halving_moves <= self.deltas / 2) & (self.halving_convexity > 0)).all()

    @property
    def sigma(self) -> Any:
        """σ, the smallest convexity of all stages; an upper bound of the true one."""
        return self.convexity.min()

    def __str__(self) -> str:
        if not is_concrete(self):
            return repr(self)
        names = ("δ", "move", "allowed", "to x*", "σ", "at d·δ", "convex to", "halving", "σ at 3δ")
        columns = (
            self.deltas,
            self.moves,
            self.allowed_moves,
            self.distances,
            self.convexity,
            self.radius_factors * self.deltas,
            self.convex_radii,
            self.halving_moves,
            self.halving_convexity,
        )
        rows = [names, *([f"{x:.4g}" for x in row] for row in np.stack(columns, axis=1))]
        lines = ["  ".join(f"{entry:>9}" for entry in row) for row in rows]
        verdicts = (("new σ-nice", self.is_new_nice), ("σ-nice", self.is_nice))
        lines += [f"{name}: {'no sample disagrees' if v else 'no'}" for name, v in verdicts]
        return "\n".join(lines)


class _Options(NamedTuple):
    num_samples: int
    num_points: int
    num_starts: int
    distribution: Distribution
    method: Method


def nice_report(
    key: jax.Array,
    f: Callable,
    deltas: Any,
    minimizer: Any,
    *,
    radius_factors: Any = 2.0,
    num_samples: int = 1024,
    num_points: int = 256,
    num_starts: int = 8,
    distribution: Distribution = "ball",
    method: Method = "quasi_monte_carlo",
) -> NiceReport:
    """Checks on samples whether f is σ-nice, in the old sense and the new one.

    σ-nice: for every δ there is a minimiser with ‖x*_δ − x*_{δ/2}‖ ≤ δ/2, and f̂_δ is σ-strongly
    convex on B(x*_δ; 3δ). New σ-nice, for a sequence δ_1 > δ_2 > … and factors d_m > 1:

        (i)  ‖x*_{δ_m} − x*_{δ_{m+1}}‖ ≤ δ_m − δ_{m+1}
        (ii) f̂_{δ_m} is σ-strongly convex on N(x*; d_m δ_m)

    The estimate of σ is the smallest eigenvalue of the Hessian of f̂ over points of the ball, from
    its middle to its surface at even distances, in random directions. x*_δ is the lowest end of
    Newton's method from x* and such points around it.

    These are checks on samples, not proofs: a violation that is found is one, within the error of
    f̂ (take more samples to see it); where none is found there may be some. f̂ is the mean over the
    same shifts for all points and δ, so its Hessian is the mean of Hessians of f: for f that is
    piecewise linear it says nothing.

    It costs about (80 num_starts + 2 num_points) num_samples Hessians of f per stage, of d² numbers
    each: for functions of few dimensions.

    Args:
      key: typed key.
      f: x → a single number, twice differentiable almost everywhere.
      deltas: (M,) falling degrees of smoothing δ_m > 0 in units of x, without the final zero.
      minimizer: x*, pytree of floating arrays.
      radius_factors: d_m > 1, one or (M,) of them.
      num_samples: shifts in f̂.
      num_points: points of each ball, the middle included.
      num_starts: starts of the search for x*_δ, x* included.
      distribution: of u, "ball" or "gaussian".
      method: "quasi_monte_carlo", "antithetic" or "monte_carlo".

    Returns:
      `NiceReport`.

    Raises:
      TypeError: if key is no typed key, minimizer is not real and floating, or f gives no floating
        number.
      ValueError: if an argument is wrong or f gives more than a single number.

    References:
      Hazan, Levy, Shalev-Shwartz, "On Graduated Optimization for Stochastic Non-Convex Problems",
      2016 (σ-nice). Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex
      Functions: Analysis of Implicit Graduated Optimization with Optimal Noise Scheduling", 2023,
      section 3, proposition 3.2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> f = lambda x: jnp.sum(x**2)
      >>> deltas = jn.smoothing.polynomial_deltas(1.0, 3)
      >>> report = jn.smoothing.nice_report(jax.random.key(0), f, deltas, jnp.zeros(2))
      >>> bool(report.is_new_nice), round(float(report.sigma), 3)
      (True, 2.0)
    """
    check_key(key)
    deltas = degrees(deltas)
    check_positive(deltas, "deltas")
    if is_concrete(deltas) and not (np.diff(deltas) < 0).all():
        raise ValueError(f"deltas must fall from each to the next, got {deltas}")
    factors = for_each_degree(radius_factors, "radius_factors", deltas)
    if is_concrete(factors) and not (factors > 1).all():
        raise ValueError(f"radius_factors must be larger than 1, got {radius_factors}")
    check_smoothing(num_samples, distribution, method, None)
    check_count(num_points, "num_points")
    check_count(num_starts, "num_starts")
    f, minimizer = as_partial(f), floating(minimizer, "minimizer")
    check_scalar_function(f, minimizer)
    options = _Options(num_samples, num_points, num_starts, distribution, method)
    return _report(key, f, deltas, factors, minimizer, options)


@functools.partial(jax.jit, static_argnums=5)
def _report(key, f, deltas, factors, minimizer, options: _Options) -> NiceReport:
    middle, unflatten = ravel_pytree(minimizer)
    d = middle.size
    chunk = max(1, CHUNK_NUMBERS // d**2)
    hat_key, start_key, point_key = jax.random.split(key, 3)
    smoothing = (options.num_samples, options.distribution, options.method, chunk)
    starts = _around(start_key, options.num_starts, d, middle.dtype)
    points = _around(point_key, options.num_points, d, middle.dtype)
    at_once = max(1, chunk // options.num_samples)

    def at(delta):
        hat = Smoothed(f, hat_key, delta, *smoothing)
        return lambda x: hat(unflatten(x))

    def lowest(job):
        delta, radius = job
        find = functools.partial(_minimum, at(delta), trust=delta)
        ends, values = map_examples(jax.vmap(find), middle + radius * starts, at_once)
        return ends[jnp.nanargmin(values)]

    def eigenvalues(delta, center, radius):
        def smallest(x):
            return jnp.linalg.eigvalsh(jax.hessian(at(delta))(x))[0]

        return map_examples(jax.vmap(smallest), center + radius * points, at_once)

    def look_around(job):
        delta, factor, own = job
        near = eigenvalues(delta, middle, factor * delta)
        return near, jnp.min(eigenvalues(delta, own, _HAZAN_RADIUS * delta))

    radii = factors * deltas
    twice = jnp.concatenate([deltas, deltas / 2]), jnp.concatenate([radii, radii])
    own, halved = jnp.split(jax.lax.map(lowest, twice), 2)
    near, halving_convexity = jax.lax.map(look_around, (deltas, factors, own))
    reach = radii[:, None] * jnp.linalg.norm(points, axis=1)
    first_bad = jnp.min(jnp.where(near > 0, jnp.inf, reach), axis=1, keepdims=True)
    following = jnp.concatenate([own[1:], middle[None]])
    return NiceReport(
        deltas=deltas,
        radius_factors=factors,
        minimizers=jax.vmap(unflatten)(own),
        moves=jnp.linalg.norm(own - following, axis=1),
        allowed_moves=deltas - jnp.append(deltas[1:], 0),
        distances=jnp.linalg.norm(own - middle, axis=1),
        convexity=jnp.min(near, axis=1),
        convex_radii=jnp.max(jnp.where(reach < first_bad, reach, 0), axis=1),
        halving_moves=jnp.linalg.norm(own - halved, axis=1),
        halving_convexity=halving_convexity,
    )


def _around(key: jax.Array, num: int, dimension: int, dtype: jnp.dtype) -> jax.Array:
    """(num, d) points of the unit ball at even distances, from its middle to its surface."""
    normal = directions(jax.random.split(key, num), dimension, "gaussian", dtype)
    distances = jnp.linspace(0, 1, num, dtype=dtype)[:, None]
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True) * distances


def _minimum(value: Callable, start: jax.Array, trust: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(point, value) where Newton's method with magnitudes of the curvatures ends.

    A step is no longer than a radius, which starts at `trust`, doubles after a step that went down
    and is quartered after one that did not, which is taken back.
    """
    eps = jnp.finfo(start.dtype).eps

    def step(_, state):
        x, least, radius = state
        curvatures, axes = jnp.linalg.eigh(jax.hessian(value)(x))
        floor = eps * jnp.max(jnp.abs(curvatures)) + jnp.finfo(start.dtype).tiny
        move = -axes @ (axes.T @ jax.grad(value)(x) / jnp.maximum(jnp.abs(curvatures), floor))
        move = move * jnp.minimum(1, radius / jnp.maximum(jnp.linalg.norm(move), floor))
        found = value(x + move)
        is_lower = found <= least + 4 * eps * jnp.abs(least)
        x, least = jax.tree.map(
            lambda new, old: jnp.where(is_lower, new, old), (x + move, found), (x, least)
        )
        return x, least, jnp.where(is_lower, jnp.minimum(2 * radius, trust), radius / 4)

    x, least, _ = jax.lax.fori_loop(0, _NEWTON_STEPS, step, (start, value(start), trust))
    return x, least
