"""Means of per-example metrics over a data set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .._checks import as_arrays
from .._sharding import as_on_one_device, num_shards
from .._streaming import check_chunk_size, default_chunk_size, mean_metrics, named, sum_examples
from .._tree import as_partial, num_examples


def evaluate(
    loss_fn: Callable, params: Any, data: Any, *, chunk_size: int | None = None
) -> dict[str, jax.Array]:
    """The mean of each per-example metric over `data`, in one compiled program.

    Args:
      loss_fn: (params, batch) → losses (B,), or a dict of such metrics.
      params: pytree of parameters.
      data: batch of all n examples.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      name → mean, a scalar; losses without a name are called "loss".

    Raises:
      ValueError: if data is empty, its leaves disagree in length, or the losses aren't one per
        example.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: (batch["x"] - w) ** 2
      >>> jn.training.evaluate(loss_fn, jnp.array(1.0), {"x": jnp.array([1.0, 3.0])})
      {'loss': Array(2., dtype=float32)}
    """
    num_examples(data)
    check_chunk_size(chunk_size)
    size = chunk_size or default_chunk_size(data)
    return _evaluate(as_partial(loss_fn), params, as_arrays(data, "data"), size)


@functools.partial(jax.jit, static_argnums=3)
def _evaluate(loss_fn, params, data, chunk_size):
    return mean_per_example(functools.partial(loss_fn, params), data, chunk_size, "loss_fn")


def mean_per_example(
    metrics_of: Callable, data: Any, chunk_size: int, source: str
) -> dict[str, jax.Array]:
    """`mean_metrics` of what must be one number per example; `source` is named where it isn't."""
    return mean_metrics(functools.partial(per_example, metrics_of, source), data, chunk_size)


def mean_over_devices(
    evaluate: Any, args: tuple, data: Any, sharding: NamedSharding
) -> dict[str, jax.Array]:
    """Name → mean of what evaluate(*args, data) gives; each device takes its part of the data."""
    n, parts = num_examples(data), num_shards(sharding)
    numbers = jnp.arange(-(-n // parts) * parts)
    filled = jax.tree.map(lambda x: x[numbers % n], data)
    sums = sum_of_those(evaluate, args, filled, numbers < n, sharding)
    return {name: value / n for name, value in sums.items()}


def sum_of_those(
    evaluate: Any,
    args: tuple,
    batch: Any,
    counted: jax.Array,
    sharding: NamedSharding | None = None,
) -> dict[str, jax.Array]:
    """Name → sum of what evaluate(*args, batch) gives over the examples that are counted.

    Args:
      evaluate: (*args, batch) → metrics (B,), a pytree.
      args: its first arguments.
      batch: B examples.
      counted: (B,) booleans.
      sharding: along which each device sums over its part, of equal length, of the batch.
    """

    def sums(evaluate, args, batch, counted):
        def sums_of_chunk(chunk, weights):
            examples, counted = chunk
            metrics = per_example(functools.partial(evaluate, *args), "evaluate", examples)
            seen = counted & (weights > 0)
            return {name: jnp.sum(values, where=seen) for name, values in metrics.items()}

        return sum_examples(sums_of_chunk, (batch, counted), default_chunk_size(batch))

    if sharding is None:
        return sums(evaluate, args, batch, counted)
    whole, spread = PartitionSpec(), sharding.spec

    def sums_of_all(*inputs):
        with as_on_one_device():
            own = sums(*inputs)
        return jax.lax.psum(own, spread[0])

    over_devices = jax.shard_map(
        sums_of_all,
        mesh=sharding.mesh,
        in_specs=(whole, whole, spread, spread),
        out_specs=whole,
        check_vma=False,
    )
    return over_devices(evaluate, args, batch, counted)


def per_example(metrics_of: Callable, source: str, batch: Any) -> dict[str, jax.Array]:
    """The metrics of a batch by name, (B,) each."""
    metrics, expected = named(metrics_of(batch)), (num_examples(batch),)
    if not metrics:
        raise ValueError(f"{source} gives an empty dict: give at least one metric per example")
    for name, values in metrics.items():
        found = getattr(values, "shape", np.shape(values))
        if found != expected:
            raise ValueError(
                f"{source} must give one {name} per example, shape {expected} here, got {found}: "
                "leave out the mean over examples"
            )
    return metrics
