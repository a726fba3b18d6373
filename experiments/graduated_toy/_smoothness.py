"""How sharply a smoothed function bends, as far as samples show it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn

NUM_POINTS, NUM_TURNS, NUM_DELTAS, LEAST = 32, 10, 13, 1e-4
MOST_SAMPLES, MOST_NUMBERS = 2**12, 2**15


@dataclasses.dataclass(frozen=True)
class Smoothness:
    """L at some degrees of smoothing, between which log L is taken as linear in log δ.

    Attributes:
      deltas: (K,) rising degrees of smoothing.
      curvatures: (K,) L of f̂_δ.
      curvature: L of f itself.
    """

    deltas: np.ndarray
    curvatures: np.ndarray
    curvature: float

    def __call__(self, delta: np.ndarray) -> np.ndarray:
        logs = np.interp(
            np.log(np.maximum(delta, self.deltas[0])), np.log(self.deltas), np.log(self.curvatures)
        )
        return np.where(delta > 0, np.exp(logs), self.curvature)


def smoothness_of(key: jax.Array, f: Callable, delta: float, points: jax.Array) -> Smoothness:
    """L of f and of its smoothings up to δ.

    L is the largest absolute eigenvalue of the Hessian that ten turns of the power method find at
    the points. f̂ is the mean over 4096 shifts, or fewer in many dimensions, others at each point.

    Args:
      key: typed key.
      f: x → a single number.
      delta: the largest degree of smoothing.
      points: (n, d).
    """
    deltas = delta * np.geomspace(LEAST, 1, NUM_DELTAS)
    num_samples = min(MOST_SAMPLES, 2 ** int(math.log2(MOST_NUMBERS / points.shape[1])))
    found = _curvatures(key, Partial(f), jnp.append(deltas, 0.0), points, num_samples)
    return Smoothness(deltas, np.asarray(found[:-1], float), float(found[-1]))


@functools.partial(jax.jit, static_argnames="num_samples")
def _curvatures(
    key: jax.Array, f: Callable, deltas: jax.Array, points: jax.Array, num_samples: int
) -> jax.Array:
    """(K,) the largest curvature met at each degree of smoothing."""
    keys = jax.random.split(key, (len(deltas), len(points)))

    def largest(job):
        key, delta, point = job
        hat = jn.smoothing.smoothed(
            key, f, delta, num_samples, "gaussian", method="quasi_monte_carlo"
        )

        def curved(v):
            return jax.jvp(hat.gradient, (point,), (v,))[1]

        def turn(_, v):
            image = curved(v)
            return image / jnp.maximum(jnp.linalg.norm(image), jnp.finfo(image.dtype).tiny)

        first = jax.random.normal(jax.random.fold_in(key, 1), point.shape)
        return jnp.linalg.norm(curved(jax.lax.fori_loop(0, NUM_TURNS, turn, first)))

    def at(job):
        keys, delta = job
        each = keys, jnp.broadcast_to(delta, len(points)), points
        return jnp.max(jax.lax.map(largest, each, batch_size=8))

    return jax.lax.map(at, (keys, deltas))
