"""Functions smoothed by the mean over random shifts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._checks import check_choice, check_count, check_key, check_not_negative, check_single
from .._streaming import check_chunk_size, has_convolutions, sum_examples
from .._tree import as_partial, num_examples
from ._checks import check_scalar_function, floating
from ._directions import DISTRIBUTIONS, METHODS, Distribution, Method, directions, seeds

CHUNK_NUMBERS = 2**20  # directions drawn at once hold about this many numbers


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Smoothed:
    """A function of x, f̂_δ(x), and a pytree: compiled programs take it as an argument.

    Attributes:
      f: the function, a pytree.
      key: typed key; it stands for the directions.
      delta: δ ≥ 0.
      num_samples: evaluations of f.
      distribution: "ball" or "gaussian".
      method: "antithetic", "monte_carlo" or "quasi_monte_carlo".
      chunk_size: most shifted points side by side.
    """

    f: Callable
    key: jax.Array
    delta: Any
    num_samples: int = dataclasses.field(metadata={"static": True})
    distribution: Distribution = dataclasses.field(metadata={"static": True})
    method: Method = dataclasses.field(metadata={"static": True})
    chunk_size: int | None = dataclasses.field(default=None, metadata={"static": True})

    def __call__(self, x: Any) -> jax.Array:
        """f̂_δ(x), a single number."""
        return _mean(self, floating(x, "x"))

    def gradient(self, x: Any) -> Any:
        """∇f̂_δ(x), which `jax.grad` gives, too: the mean of gradients of f, summed up at once."""
        return _gradient(self, floating(x, "x"))


def smoothed(
    key: jax.Array,
    f: Callable,
    delta: Any,
    num_samples: int,
    distribution: Distribution = "ball",
    *,
    method: Method = "antithetic",
    chunk_size: int | None = None,
) -> Smoothed:
    """The smoothed function f̂_δ, by the mean over the same random shifts for every x.

        f̂_δ(x) = E_u[f(x − δu)]

    with u uniform in the unit ball of d dimensions, or normal with covariance I/d, so that E‖u‖² is
    d/(d + 2) or 1. All of x counts as one point, whatever the leaves it consists of. As the shifts
    depend on the key alone, the result is a deterministic function, as smooth as f, and its
    gradient is the mean of the gradients of f. For f with Lipschitz constant L and the ball,
    |f̂_δ − f| ≤ δ L d/(d + 1) ≤ δ L; smoothing keeps this constant, and that of the gradient.

    An evaluation costs `num_samples` evaluations of f. Directions are made from the key where they
    are needed, so that memory, also of gradients, is bounded by a chunk of them.

    Args:
      key: typed key.
      f: x → a single number.
      delta: δ ≥ 0, in units of x.
      num_samples: evaluations of f; an odd number is rounded up for "antithetic".
      distribution: of u, "ball" or "gaussian".
      method: "antithetic" takes u and −u in pairs, which is exact for linear f; "monte_carlo" takes
        independent u; "quasi_monte_carlo" takes a Sobol' sequence under a random shift modulo 1,
        best in few dimensions and with a power of two as number.
      chunk_size: most shifted points side by side; None takes about a million numbers, or one point
        where f has convolutions in it. On CPU 1 is fastest where the result is mapped over more
        than a few dozen x.

    Returns:
      A function of x: any pytree of floating arrays, d numbers in all. It may be differentiated,
      compiled and mapped. It is a pytree itself, so that a compiled program that takes it as an
      argument is not compiled again for another key or δ.

    Raises:
      TypeError: if key is no typed key, x is not real and floating, or f gives no floating number.
      ValueError: if an argument is wrong or f gives more than a single number.

    References:
      Hazan, Levy, Shalev-Shwartz, "On Graduated Optimization for Stochastic Non-Convex Problems",
      2016. Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex
      Functions: Analysis of Implicit Graduated Optimization with Optimal Noise Scheduling", 2023,
      lemmas 2.2 to 2.4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> f = lambda x: jnp.sum(x["w"] ** 2) + x["b"]
      >>> x = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
      >>> hat = jn.smoothing.smoothed(jax.random.key(0), f, 0.5, 4000)
      >>> abs(float(hat(x)) - (8 + 0.5**2 * 2 / (3 + 2))) < 0.01
      True
      >>> float(jax.grad(hat)(x)["b"])
      1.0
    """
    check_key(key)
    check_single(delta, "delta")
    check_not_negative(delta, "delta")
    check_smoothing(num_samples, distribution, method, chunk_size)
    delta = jnp.asarray(delta, float)
    return Smoothed(as_partial(f), key, delta, num_samples, distribution, method, chunk_size)


def check_smoothing(
    num_samples: int, distribution: str, method: str, chunk_size: int | None
) -> None:
    check_count(num_samples, "num_samples")
    check_choice(distribution, "distribution", DISTRIBUTIONS)
    check_choice(method, "method", METHODS)
    check_chunk_size(chunk_size)


@jax.jit
def _mean(hat: Smoothed, x: Any) -> jax.Array:
    check_scalar_function(hat.f, x)
    center, unflatten = ravel_pytree(x)
    return _over_shifts(hat, center, lambda point: hat.f(unflatten(point)), unflatten)


@jax.jit
def _gradient(hat: Smoothed, x: Any) -> Any:
    check_scalar_function(hat.f, x)
    center, unflatten = ravel_pytree(x)
    gradient = jax.grad(lambda point: hat.f(unflatten(point)))
    return unflatten(_over_shifts(hat, center, gradient, unflatten))


def _over_shifts(hat: Smoothed, center: jax.Array, function: Callable, unflatten: Callable) -> Any:
    """The mean of function(center − δu). Directions are drawn in larger chunks than they are used.

    Chunks are run again where this is differentiated, so that nothing of them has to be kept.
    """
    d = center.size
    delta = jnp.asarray(hat.delta, center.dtype)
    drawn = seeds(jax.random.clone(hat.key), hat.num_samples, d, hat.distribution, hat.method)
    at_once = max(1, CHUNK_NUMBERS // d)
    side_by_side = hat.chunk_size or (1 if has_convolutions(hat.f, unflatten(center)) else at_once)

    def values(steps):
        found = jax.vmap(lambda step: function(center - step))(steps)
        if hat.method == "antithetic":
            found = (found + jax.vmap(lambda step: function(center + step))(steps)) / 2
        return found

    @jax.checkpoint
    def part(shifts, again):
        steps, weights = shifts
        return jnp.tensordot((weights * again).astype(center.dtype), values(steps), axes=1)

    @jax.checkpoint
    def total(drawn, weights):
        steps = delta * directions(drawn, d, hat.distribution, center.dtype)
        return sum_examples(part, (steps, weights), side_by_side)

    return sum_examples(total, drawn, at_once) / num_examples(drawn)
