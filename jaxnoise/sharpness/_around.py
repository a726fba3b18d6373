"""The mean loss around the parameters, as a function of perturbations, most of them flat."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from .._streaming import (
    contains,
    default_chunk_size,
    has_convolutions,
    map_examples,
    sum_examples,
)
from .._tree import is_concrete, num_examples, wide
from ..gradients._per_example import prepare

_SIDE_BY_SIDE = 8  # perturbations at once on an accelerator where the network is dense …
_NUMBERS = 2**22  # … and all of them together have no more numbers than this


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Around:
    """L(w + δ) − L(w) for perturbations δ, a pytree that compiled programs take.

    The losses are subtracted example by example before the mean is taken, so that less of a small
    difference is lost to rounding.

    Attributes:
      loss_fn: (params, batch) → losses (B,), a pytree.
      params: w, leaves in at least single precision.
      data: batch of n examples.
      start: (n,) losses at w.
      weights: (n,) how much each example counts, zero or one.
      chunk_size: most examples at a time.
    """

    loss_fn: Callable
    params: Any
    data: Any
    start: jax.Array
    weights: Any
    chunk_size: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, loss_fn: Callable, params: Any, data: Any, chunk_size: int | None) -> Self:
        """Prepares the loss after all that can be checked.

        Raises:
          TypeError: if a parameter is not real and floating.
          ValueError: if loss_fn gives anything but (B,) losses, couples examples, or gives a loss
            at the parameters that is not finite.
        """
        loss_fn, data = prepare(loss_fn, params, data, chunk_size)
        params = jax.tree.map(lambda leaf: wide(jnp.asarray(leaf)), params)
        size = chunk_size or default_chunk_size(data)
        with full_precision():
            start = _losses(loss_fn, params, data, size)
        if is_concrete(start) and (bad := np.flatnonzero(~np.isfinite(start))).size:
            raise ValueError(
                f"loss_fn gives a loss at params that is not finite, at example {bad[0]} "
                f"({bad.size} such examples): look for non-finite parameters or data"
            )
        return cls(loss_fn, params, data, start, np.ones(start.shape, start.dtype), size)

    @property
    def center(self) -> jax.Array:
        """(d,) the parameters."""
        return ravel_pytree(self.params)[0]

    @property
    def size(self) -> int:
        """d, the number of parameters."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.params))

    @property
    def mean_loss(self) -> jax.Array:
        """L(w)."""
        return jnp.sum(self.weights * self.start) / jnp.sum(self.weights)

    def unflatten(self, vector: jax.Array) -> Any:
        return ravel_pytree(self.params)[1](vector)

    def increase(self, delta: jax.Array) -> jax.Array:
        """L(w + δ) − L(w)."""
        return self._mean(functools.partial(self._sum, self._moved(delta)))

    def increase_and_gradient(self, delta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """L(w + δ) − L(w) and ∇L(w + δ)."""
        value, gradient = self.increase_and_gradients(self.unflatten(delta))
        return value, ravel_pytree(gradient)[0]

    def increase_and_gradients(self, deltas: Any) -> tuple[jax.Array, Any]:
        """The same for δ in the shape of w, which is neither taken apart nor put together."""
        point = jax.tree.map(jnp.add, self.params, deltas)
        return self._mean(lambda *chunk: jax.value_and_grad(self._sum)(point, *chunk))

    def hessian_product(self, vector: jax.Array) -> jax.Array:
        """∇²L(w) v, forward over reverse where no part of the loss forbids forward mode."""
        has_own_rules = contains(
            {"custom_vjp_call", "custom_vjp_call_jaxpr"}, self.loss_fn, self.params, self.data
        )
        tangent = self.unflatten(vector)

        def product(*chunk):
            def gradient(point):
                return jax.grad(self._sum)(point, *chunk)

            if has_own_rules:
                return jax.grad(lambda point: optax.tree.vdot(gradient(point), tangent))(
                    self.params
                )
            return jax.jvp(gradient, (self.params,), (tangent,))[1]

        return ravel_pytree(self._mean(product))[0]

    def batch(self, index: Any, size: int) -> Self:
        """Examples index · size, …; beyond the last one it stands again, with weight zero."""
        n = num_examples(self.data)
        if size >= n:
            return self
        rows = index * size + jnp.arange(size)
        kept = jnp.minimum(rows, n - 1)
        data, start = jax.tree.map(lambda x: x[kept], (self.data, self.start))
        return dataclasses.replace(
            self, data=data, start=start, weights=(rows < n).astype(start.dtype)
        )

    # Sums over chunks are of pytrees: flat gradients would be put together anew for every chunk.

    def _moved(self, delta):
        return self.unflatten(self.center + delta)

    def _sum(self, point, chunk, weights):
        examples, start, own_weights = chunk
        losses = wide(self.loss_fn(point, examples))
        weights = weights.astype(own_weights.dtype) * own_weights
        return jnp.sum(weights * (losses - start), where=weights > 0)

    def _mean(self, function: Callable) -> Any:
        total = sum_examples(function, (self.data, self.start, self.weights), self.chunk_size)
        count = jnp.sum(self.weights)
        return jax.tree.map(lambda x: x / count, total)


@functools.partial(jax.jit, static_argnums=3)
def _losses(loss_fn, params, data, chunk_size):
    return map_examples(lambda chunk: wide(loss_fn(params, chunk)), data, chunk_size)


def full_precision() -> contextlib.AbstractContextManager:
    """Accelerators round the operands of products to ten bits, in which a perturbation is lost."""
    return jax.default_matmul_precision("highest")


def side_by_side(around: Around) -> int:
    """How many perturbations to work on at once."""
    is_cpu = jax.default_backend() == "cpu"
    if is_cpu or has_convolutions(around.loss_fn, around.params, around.data):
        return 1
    return max(1, min(_SIDE_BY_SIDE, _NUMBERS // max(1, around.size)))


def map_jobs(function: Callable, jobs: Any, at_once: int) -> Any:
    """Applies `function` to each of the jobs, that many side by side."""
    if at_once == 1:
        return jax.lax.map(function, jobs)
    return map_examples(jax.vmap(function), jobs, at_once)


def check_finite_nearby(values: Any, name: str) -> None:
    """Raises if one of the concrete losses around the parameters is not finite."""
    if is_concrete(values) and not all(np.isfinite(x).all() for x in jax.tree.leaves(values)):
        raise ValueError(
            f"the loss is not finite everywhere within reach of {name}: take a smaller {name}"
        )
