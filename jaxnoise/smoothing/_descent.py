"""Gradient descent with a constant step, from one start or many, plain or with noise."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from .._checks import (
    check_count,
    check_function,
    check_key,
    check_not_negative,
    check_positive,
    check_single,
    check_whole,
)
from .._results import Result
from .._streaming import check_chunk_size, map_examples
from .._tree import as_partial, num_examples
from ._checks import check_scalar_function, floating

CHUNK_NUMBERS = 2**20  # starts that go down side by side hold about this many numbers

Optimizer = Callable[[Any], optax.GradientTransformation]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Descent(Result):
    """Where gradient descent ended; with many starts every array has a leading (n,).

    Attributes:
      point: the last point, a pytree like the start.
      value: f there.
      trajectory: points after every `record_every` steps, leaves (num_steps/record_every, …), or
        None.
      trajectory_values: (num_steps/record_every,) f at these, or None.
    """

    point: Any
    value: Any
    trajectory: Any
    trajectory_values: Any


class _Options(NamedTuple):
    num_steps: int
    record_every: int | None
    optimizer: Optimizer


def descent(
    f: Callable,
    start: Any,
    *,
    learning_rate: Any,
    num_steps: int,
    noise_std: Any = None,
    key: jax.Array | None = None,
    optimizer: Optimizer = optax.sgd,
    record_every: int | None = None,
    vectorized: bool = False,
    chunk_size: int | None = None,
) -> Descent:
    """Gradient descent with a constant step, and the noise of SGD if wanted.

        x_{t+1} = x_t − η(∇f(x_t) + ω_t),   ω_t ~ N(0, (s²/d) I)

    so that E‖ω_t‖² = s². With s = C/√b this is the noise of SGD at batch size b, and descent then
    goes, on average, down the function smoothed with Gaussian directions at δ = ηs: with the points
    before the noise, y_t = x_t − η∇f(x_t), E[y_{t+1}] = E[y_t − η∇f̂_δ(y_t)].

    All steps and starts run in one compiled program, which other starts, keys, learning rates and
    noise don't compile anew.

    Args:
      f: x → a single number, differentiable.
      start: x_0, pytree of floating arrays, d numbers in all; with `vectorized` n of them along the
        leading axis of every leaf.
      learning_rate: η > 0.
      num_steps: T ≥ 1.
      noise_std: s ≥ 0, root mean square of the noise's norm; None for no noise.
      key: typed key, needed for noise. Start i takes the i-th of `jax.random.split(key, n)`.
      optimizer: function of the learning rate that gives an Optax transformation, as `optax.adam`.
        A function made anew for each call compiles anew.
      record_every: keep every that many steps' point; num_steps must be a multiple of it.
      vectorized: whether `start` holds many starts.
      chunk_size: most starts side by side; None takes about a million numbers.

    Returns:
      `Descent`. Where descent diverges the point is not finite and kept as it is.

    Raises:
      TypeError: if start is not real and floating, or f gives no floating number.
      ValueError: if an argument is wrong, key is missing or f gives more than a single number.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 3, algorithm 2.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> f = lambda x: jnp.sum((x**2 - 1) ** 2)
      >>> starts = jnp.array([[0.1], [-0.1]])
      >>> found = jn.smoothing.descent(
      ...     f, starts, learning_rate=0.05, num_steps=100, vectorized=True
      ... )
      >>> found.point.round(3)
      Array([[ 1.],
             [-1.]], dtype=float32)
    """
    check_single(learning_rate, "learning_rate")
    check_positive(learning_rate, "learning_rate")
    check_count(num_steps, "num_steps")
    if record_every is not None:
        check_whole(record_every, "record_every")
    if record_every is not None and (record_every < 1 or num_steps % record_every):
        raise ValueError(
            f"record_every must divide num_steps ({num_steps}) evenly, got {record_every}"
        )
    f, start = prepare_start(f, start, vectorized, chunk_size)
    if noise_std is not None:
        check_single(noise_std, "noise_std")
        check_not_negative(noise_std, "noise_std")
        if key is None:
            raise ValueError("key is needed for noise: give key=jax.random.key(…)")
        check_key(key)
    else:
        key = None
    size = (chunk_size or chunk_of_starts(start, 1)) if vectorized else None
    options = _Options(num_steps, record_every, optimizer)
    return _descent(key, f, start, learning_rate, noise_std, options, size)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _descent(key, f, start, learning_rate, noise_std, options: _Options, size) -> Descent:
    def run(job):
        def gradient(x, t):
            found = jax.grad(f)(x)
            if noise_std is None:
                return found
            flat, unflatten = ravel_pytree(found)
            normal = jax.random.normal(jax.random.fold_in(job["key"], t), flat.shape, flat.dtype)
            scale = jnp.asarray(noise_std, flat.dtype) / math.sqrt(flat.size)
            return unflatten(flat + scale * normal)

        every = options.record_every or options.num_steps
        point, path = descend(
            gradient, job["start"], learning_rate, options.num_steps, options.optimizer, every
        )
        if options.record_every is None:
            return Descent(point, f(point), None, None)
        return Descent(point, f(point), path, jax.vmap(f)(path))

    if size is None:
        return run({"start": start, "key": key})
    keys = None if key is None else jax.random.split(key, num_examples(start))
    return map_examples(jax.vmap(run), {"start": start, "key": keys}, size)


def descend(
    gradient: Callable,
    start: Any,
    learning_rate: Any,
    num_steps: int,
    optimizer: Optimizer,
    record_every: int,
) -> tuple[Any, Any]:
    """Goes down along gradient(x, t), t = 0, 1, …

    Returns:
      (last point, points after every `record_every` steps with a leading axis).
    """
    check_function(optimizer, "optimizer")
    transformation = optimizer(learning_rate)
    if not hasattr(transformation, "init"):
        raise TypeError(
            "optimizer must be a function of the learning rate that gives an optax transformation, "
            f"such as optax.sgd, but gives a {type(transformation).__name__}"
        )

    def step(carry, t):
        x, state = carry
        updates, state = transformation.update(gradient(x, t), state, x)
        return (optax.apply_updates(x, updates), state), None

    def block(carry, steps):
        carry, _ = jax.lax.scan(step, carry, steps)
        return carry, carry[0]

    steps = jnp.arange(num_steps).reshape(-1, record_every)
    (point, _), path = jax.lax.scan(block, (start, transformation.init(start)), steps)
    return point, path


def prepare_start(
    f: Callable, start: Any, vectorized: bool, chunk_size: int | None
) -> tuple[Callable, Any]:
    """f as a pytree and the start in at least single precision, after all checks of both."""
    check_chunk_size(chunk_size)
    f, start = as_partial(f), floating(start, "start")
    if vectorized:
        num_examples(start, "start")
        check_scalar_function(f, jax.eval_shape(lambda s: jax.tree.map(lambda x: x[0], s), start))
    else:
        fix = "give vectorized=True where start holds many starts, else sum or average it"
        check_scalar_function(f, start, fix)
    return f, start


def chunk_of_starts(start: Any, copies: int) -> int:
    """As many starts as hold about a million numbers, with so many copies of each."""
    n = num_examples(start, "start")
    numbers = sum(leaf.size for leaf in jax.tree.leaves(start)) // n * copies
    return max(1, min(n, CHUNK_NUMBERS // numbers))
