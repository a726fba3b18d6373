"""Graduated optimization: descent on functions that are smoothed less and less."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._checks import check_count, check_key, check_not_negative, check_positive, check_single
from .._results import Result
from .._streaming import map_examples
from ._checks import degrees, for_each_degree
from ._descent import Optimizer, chunk_of_starts, descend, prepare_start
from ._directions import Distribution, Method
from ._smoothed import Smoothed, check_smoothing

_SHIFTS = 64  # side by side for many starts on an accelerator; XLA's CPU backend sums them slowly


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GraduatedDescent(Result):
    """Where graduated descent ended; with many starts every array has a leading (n,).

    Attributes:
      point: the last point, a pytree like the start.
      value: f there.
      stage_points: the last point of each stage, leaves (M, …).
      stage_values: (M,) f at these.
    """

    point: Any
    value: Any
    stage_points: Any
    stage_values: Any


class _Options(NamedTuple):
    smoothing: tuple[int, Distribution, Method, int | None]
    num_steps: int
    resample: bool
    optimizer: Optimizer


def polynomial_deltas(
    delta: Any, num_stages: int, power: Any = 0.5, *, finish: bool = False
) -> jax.Array:
    """Degrees of smoothing that fall to zero along a polynomial.

        δ_m = δ_1 ((M − m + 1)/M)^p,   m = 1, …, M

    so that each is γ_m = ((M − m)/(M − m + 1))^p times the one before, and δ_{M+1} = 0. The theory
    asks for p in (0, 1], for which γ_m is near 1 until the last stages.

    Args:
      delta: δ_1 > 0.
      num_stages: M ≥ 1.
      power: p > 0.
      finish: whether to append δ_{M+1} = 0, a stage on the function itself.

    Returns:
      (M,) or (M + 1,) degrees of smoothing.

    Raises:
      ValueError: if an argument is not positive.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, algorithm 1.

    Example:
      >>> import jaxnoise as jn
      >>> jn.smoothing.polynomial_deltas(2.0, 4, 1.0, finish=True).tolist()
      [2.0, 1.5, 1.0, 0.5, 0.0]
    """
    check_single(delta, "delta")
    check_positive(delta, "delta")
    check_count(num_stages, "num_stages")
    check_single(power, "power")
    check_positive(power, "power")
    left = jnp.arange(num_stages, 0 - finish, -1) / num_stages
    return jnp.asarray(delta, float) * left ** jnp.asarray(power, float)


def graduated_descent(
    key: jax.Array,
    f: Callable,
    start: Any,
    deltas: Any,
    *,
    learning_rate: Any,
    num_steps: int,
    num_samples: int = 64,
    distribution: Distribution = "ball",
    method: Method = "antithetic",
    resample: bool = True,
    optimizer: Optimizer = optax.sgd,
    vectorized: bool = False,
    chunk_size: int | None = None,
) -> GraduatedDescent:
    """Minimises a function through smoothed ones, each from where the one before ended.

        x_{m,t+1} = x_{m,t} − η_m ∇f̂_{δ_m}(x_{m,t}),   t = 0, …, T − 1;   x_{m+1,0} = x_{m,T}

    f̂ is estimated by the mean over `num_samples` shifts (see `smoothed`), in each step new ones or
    in each stage the same. A stage with δ_m = 0 is plain descent on f and costs one gradient a step
    instead of `num_samples`.

    All stages, steps and starts run in one compiled program, which other starts, keys, learning
    rates and as many deltas don't compile anew. All starts take the same shifts, so that each ends
    where it would alone; map over keys for independent ones.

    Args:
      key: typed key.
      f: x → a single number, differentiable almost everywhere.
      start: pytree of floating arrays, d numbers in all; with `vectorized` n of them along the
        leading axis of every leaf.
      deltas: (M,) degrees of smoothing δ_m ≥ 0 in units of x, as `polynomial_deltas` gives.
      learning_rate: η > 0, or (M,) of them. The smoother f̂ is, the less it is curved: up to
        2/(largest eigenvalue of the Hessian of f̂) is stable.
      num_steps: T ≥ 1, steps per stage.
      num_samples: shifts per gradient; an odd number is rounded up for "antithetic".
      distribution: of u, "ball" or "gaussian".
      method: "antithetic", "monte_carlo" or "quasi_monte_carlo".
      resample: whether each step draws new shifts. Otherwise a stage descends on one deterministic
        function.
      optimizer: function of the learning rate that gives an Optax transformation, begun afresh in
        each stage. A function made anew for each call compiles anew.
      vectorized: whether `start` holds many starts.
      chunk_size: most starts side by side; None takes about a million shifted numbers.

    Returns:
      `GraduatedDescent`. Where descent diverges the point is not finite and kept as it is.

    Raises:
      TypeError: if key is no typed key, start is not real and floating, or f gives no floating
        number.
      ValueError: if an argument is wrong or f gives more than a single number.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, algorithms 1 and 2.
      Hazan, Levy, Shalev-Shwartz, "On Graduated Optimization for Stochastic Non-Convex Problems",
      2016, algorithm 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> f, starts = jn.smoothing.functions.rastrigin, jnp.array([[-4.3], [2.7]])
      >>> options = {"learning_rate": 0.002, "num_steps": 300, "vectorized": True}
      >>> jn.smoothing.descent(f, starts, **options).value.round().tolist()
      [16.0, 9.0]
      >>> deltas = jn.smoothing.polynomial_deltas(1.5, 5, 0.5, finish=True)
      >>> found = jn.smoothing.graduated_descent(jax.random.key(0), f, starts, deltas, **options)
      >>> jnp.abs(found.value).round(3).tolist()
      [0.0, 0.0]
    """
    check_key(key)
    deltas = degrees(deltas)
    check_not_negative(deltas, "deltas")
    rates = for_each_degree(learning_rate, "learning_rate", deltas)
    check_positive(learning_rate, "learning_rate")
    check_count(num_steps, "num_steps")
    check_smoothing(num_samples, distribution, method, None)
    f, start = prepare_start(f, start, vectorized, chunk_size)
    size, shifts = None, None
    if vectorized:
        shifts = 1 if jax.default_backend() == "cpu" else min(num_samples, _SHIFTS)
        size = chunk_size or chunk_of_starts(start, shifts)
    smoothing = num_samples, distribution, method, shifts
    options = _Options(smoothing, num_steps, resample, optimizer)
    return _graduated(key, f, start, deltas, rates, options, size)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _graduated(key, f, start, deltas, rates, options: _Options, size) -> GraduatedDescent:
    keys = jax.random.split(key, len(deltas))

    def stage(x, settings):
        key, delta, rate = settings

        def gradient(x, t):
            own = jax.random.fold_in(key, t) if options.resample else key
            hat = Smoothed(f, own, delta, *options.smoothing)
            return jax.lax.cond(delta > 0, hat.gradient, jax.grad(f), x)

        x, _ = descend(gradient, x, rate, options.num_steps, options.optimizer, options.num_steps)
        return x, x

    def run(x):
        x, ends = jax.lax.scan(stage, x, (keys, deltas, rates))
        return GraduatedDescent(x, f(x), ends, jax.vmap(f)(ends))

    return run(start) if size is None else map_examples(jax.vmap(run), start, size)
