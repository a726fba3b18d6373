"""SGD with many step sizes and seeds side by side, and what is measured at its iterates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxnoise as jn


@functools.partial(jax.jit, static_argnames="batch_size")
def descend(
    keys: jax.Array,
    losses: Callable,
    data: Any,
    starts: jax.Array,
    step_sizes: jax.Array,
    variances: jax.Array,
    records: jax.Array,
    *,
    batch_size: int | None,
) -> jax.Array:
    """The iterates of SGD; each setting and seed has draws of its own.

    Args:
      keys: (S,) typed keys.
      losses: (x, batch) → losses (B,), a `Partial`.
      data: batch of all n examples.
      starts: (S, d) initial x.
      step_sizes: (R, K).
      variances: (R,) σ² of the normal noise that is added to the full gradient.
      records: (M,) rising numbers of the iterates to give, the first 0, the last at most K.
      batch_size: examples drawn with replacement for each step, instead of full gradient and noise;
        None takes these.

    Returns:
      (R, S, M, d) iterates.
    """
    n = len(jax.tree.leaves(data)[0])

    def gradient(key, x, variance):
        if batch_size is None:
            full = jax.grad(lambda x: losses(x, data).mean())(x)
            return full + jnp.sqrt(variance / x.size) * jax.random.normal(key, x.shape)
        drawn = jax.random.randint(key, (batch_size,), 0, n)
        batch = jax.tree.map(lambda leaf: leaf[drawn], data)
        return jax.grad(lambda x: losses(x, batch).mean())(x)

    def run(key, setting, start, steps, variance):
        key = jax.random.fold_in(key, setting)

        def advance(k, x):
            return x - steps[k] * gradient(jax.random.fold_in(key, k), x, variance)

        def block(x, ends):
            x = jax.lax.fori_loop(ends[0], ends[1], advance, x)
            return x, x

        after = jax.lax.scan(block, start, (records[:-1], records[1:]))[1]
        return jnp.concatenate([start[None], after])

    seeds = jax.vmap(run, (0, None, 0, None, None))
    settings = jax.vmap(seeds, (None, 0, None, 0, 0))
    return settings(keys, jnp.arange(len(step_sizes)), starts, step_sizes, variances)


class Measured(NamedTuple):
    """What the bounds speak of, at iterates of any leading axes."""

    value: jax.Array  # f(x)
    squared_norm: jax.Array  # ‖∇f(x)‖²
    variance: jax.Array  # E‖∇f_i(x) − ∇f(x)‖² for an example drawn from the data


@jax.jit
def measure(losses: Callable, data: Any, iterates: jax.Array) -> Measured:
    """f, ‖∇f‖² and the variance at each of the iterates (…, d)."""
    n = len(jax.tree.leaves(data)[0])

    def at(x):
        profile = jn.gradients.noise_profile(losses, x, data)
        norm, trace = profile.gradient_squared_norm, profile.covariance_trace
        return Measured(losses(x, data).mean(), norm, trace * (n - 1) / n)

    points = iterates.reshape(-1, iterates.shape[-1])
    found = jax.lax.map(at, points, batch_size=64)
    return jax.tree.map(lambda leaf: leaf.reshape(iterates.shape[:-1]), found)
