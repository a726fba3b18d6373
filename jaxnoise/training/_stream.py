"""An epoch of training, and an evaluation, on examples that the host reads block by block.

While the device works on a block, the next one is read. A block holds as many steps, or examples,
as take about 32 MB; at most three of them are in memory at once. Each of several processes reads
only what its own devices hold.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from .._sharding import num_shards, on_host
from ..data import Stream
from ._devices import Parts
from ._epoch import ReplicaMode, over_replicas, step_of, steps_of_epoch
from ._evaluate import sum_of_those
from ._players import Player
from ._state import TrainState

_BLOCK_BYTES = 2**25


def stream_epoch(
    train_loss: Any,
    augment: Any,
    state: TrainState,
    data: Stream,
    key: jax.Array,
    hyperparams: Any,
    *,
    players: tuple[Player, ...],
    batch_size: int,
    mode: ReplicaMode,
    sharding: NamedSharding | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """`run_epoch` of a stream: the same steps, with the same keys, on the same examples.

    All blocks of an epoch have the same number of steps but the last one, which is filled up, so
    that one program serves them all.
    """
    orders, keys = _orders(key, n=len(data), batch_size=batch_size)
    orders = on_host(orders)  # (steps, batch_size), with replicas (n, steps, batch_size)
    num_steps, replicas = orders.shape[-2], key.size
    size = _even(num_steps, _BLOCK_BYTES // (replicas * batch_size * _example_bytes(data)))
    blocks = [orders[..., i : i + size, :] for i in range(0, num_steps, size)]
    parts = Parts.along(sharding, 1 - key.ndim, orders.shape[1 - key.ndim])
    metrics: list[dict[str, Any]] = []
    for number, batches in enumerate(_read_ahead(data, [parts.own(block) for block in blocks])):
        filled = jax.tree.map(functools.partial(_filled, axis=key.ndim, size=size), batches)
        state, means = _run_block(
            train_loss,
            augment,
            state,
            jax.tree.map(parts.put, filled),
            keys,
            (number * size, blocks[number].shape[-2]),
            hyperparams,
            players=players,
            mode=mode,
            sharding=sharding,
        )
        jax.block_until_ready(metrics[-1:])
        metrics.append(means)
    joined = {name: np.concatenate([on_host(m[name]) for m in metrics], -1) for name in metrics[0]}
    return state, {name: jnp.mean(x[..., :num_steps], axis=-1) for name, x in joined.items()}


@functools.partial(jax.jit, static_argnames=("n", "batch_size"))
def _orders(key: jax.Array, *, n: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    steps = functools.partial(steps_of_epoch, n=n, batch_size=batch_size)
    return jax.vmap(steps)(key) if key.ndim else steps(key)


@functools.partial(
    jax.jit, static_argnames=("players", "mode", "sharding"), donate_argnames="state"
)
def _run_block(
    train_loss: Any,
    augment: Any,
    state: TrainState,
    batches: Any,
    keys: jax.Array,
    steps: tuple[Any, Any],
    hyperparams: Any,
    *,
    players: tuple[Player, ...],
    mode: ReplicaMode,
    sharding: NamedSharding | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes steps, the first of this number and so many, on batches (size, batch_size, …).

    Returns:
      (state, name → (size,) mean metrics, with zeros after those of the steps).
    """

    def block(train_loss, augment, steps, state, batches, keys, hyperparams):
        first, count = steps
        spread = sharding if mode is None else None
        step = step_of(train_loss, augment, players, hyperparams, spread)

        def inputs(i):
            return jax.tree.map(lambda x: x[i], batches), keys[first + i]

        def body(i, carry):
            state, metrics = carry
            state, means = step(state, *inputs(i))
            return state, {name: metrics[name].at[i].set(mean) for name, mean in means.items()}

        size = jax.tree.leaves(batches)[0].shape[0]
        means = jax.eval_shape(lambda: step(state, *inputs(0))[1])
        metrics = {name: jnp.zeros(size, mean.dtype) for name, mean in means.items()}
        return jax.lax.fori_loop(0, count, body, (state, metrics))

    shared, own = (train_loss, augment, steps), (state, batches, keys, hyperparams)
    return over_replicas(block, shared, own, mode, sharding)


def stream_evaluation(
    evaluate: Any,
    state: TrainState,
    data: Stream,
    *,
    mode: ReplicaMode,
    sharding: NamedSharding | None = None,
) -> dict[str, jax.Array]:
    """`run_evaluation` of a stream."""
    n, spread = len(data), sharding if mode is None else None
    size = _even(n, _BLOCK_BYTES // _example_bytes(data))
    size += -size % (1 if spread is None else num_shards(spread))
    parts = Parts.whole(sharding, size) if spread is None else Parts.along(spread, 0, size)
    blocks = [parts.own(np.arange(first, first + size)) for first in range(0, n, size)]
    wrapped = [block % n for block in blocks]  # the last one is filled from the start
    total: Any = None
    for number, batch in enumerate(_read_ahead(data, wrapped)):
        given = jax.tree.map(parts.put, (batch, blocks[number] < n))
        sums = _sum_block(evaluate, state, *given, mode=mode, sharding=sharding)
        before, total = total, sums if total is None else jax.tree.map(jnp.add, total, sums)
        jax.block_until_ready(before)
    return {name: value / n for name, value in total.items()}


@functools.partial(jax.jit, static_argnames=("mode", "sharding"))
def _sum_block(
    evaluate: Any,
    state: TrainState,
    batch: Any,
    counted: jax.Array,
    *,
    mode: ReplicaMode,
    sharding: NamedSharding | None,
) -> dict[str, jax.Array]:
    """Name → sum of the metric over those examples of the batch that are counted."""

    spread = sharding if mode is None else None

    def one(evaluate, batch, counted, state):
        args = (state.params, state.model_state)
        return sum_of_those(evaluate, args, batch, counted, spread)

    return over_replicas(one, (evaluate, batch, counted), (state,), mode, sharding)


def _read_ahead(data: Stream, blocks: Sequence[np.ndarray]) -> Iterator[Any]:
    """The batches of these examples, each read while the one before is made use of."""
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(data.read, blocks[0])
        for block in [*blocks[1:], None]:
            batch = ahead.result()
            if block is not None:
                ahead = reader.submit(data.read, block)
            yield batch


def _example_bytes(data: Stream) -> int:
    return max(1, sum(leaf.nbytes for leaf in jax.tree.leaves(data.read([0]))))


def _even(num: int, most: int) -> int:
    """The size of as few blocks of `num` things as have `most` at most, all but the last equal."""
    return -(-num // -(-num // max(1, most)))


def _filled(x: np.ndarray, axis: int, size: int) -> np.ndarray:
    """The array with zeros added to its end to have this size along the axis."""
    missing = size - x.shape[axis]
    widths = [(0, missing if i == axis else 0) for i in range(x.ndim)]
    return np.pad(x, widths) if missing else x
