"""Maps a loss over chunks of data inside one compiled program.

Gradients, landscapes and sharpness all walk over their examples through these functions, so that
memory is bounded by a chunk, whatever the length of the data. The number of chunks is chosen first
and their common length then made as even as possible; the last chunk reaches back to be of full
length, and what it sees a second time is weighted zero or written again with the same value.

`spread` lets several devices do so at once, each with its own share of the examples.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ._checks import check_whole
from ._progress import Progress
from ._sharding import as_on_one_device, gather, put_everywhere, put_spread
from ._tree import keys_cloned, num_examples

NUM_BLOCKS = 20  # of a pass over the data that shows its progress
_SECONDS_PER_CALL = 0.5
_CHUNK_NUMBERS = 2**20  # a default chunk holds about this many numbers of input


def default_chunk_size(data: Any) -> int:
    """As many examples as hold about a million numbers of input."""
    n = num_examples(data)
    numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(data)) // n
    return max(1, min(n, _CHUNK_NUMBERS // max(1, numbers)))


def check_chunk_size(chunk_size: int | None, name: str = "chunk_size") -> None:
    if chunk_size is None:
        return
    check_whole(chunk_size, name)
    if chunk_size < 1:
        raise ValueError(f"{name} must be a positive number, got {chunk_size}")


def map_examples(function: Callable, data: Any, chunk_size: int) -> Any:
    """Applies `function` to chunks of examples and joins its per-example results.

    Args:
      function: chunk → pytree of arrays with a leading axis of the chunk's length.
      data: batch of n examples.
      chunk_size: largest number of examples in a chunk.

    Returns:
      The pytree that `function(data)` would give, leaves (n, …), in example order.
    """
    return map_and_sum(lambda chunk, weights: (function(chunk), ()), data, chunk_size)[0]


def sum_examples(function: Callable, data: Any, chunk_size: int) -> Any:
    """Adds up what `function` gives for chunks of examples.

    Args:
      function: (chunk, weights) → pytree of sums, in which each example counts with its weight, a
        (chunk length,) array of ones and zeros.
      data: batch of n examples.
      chunk_size: largest number of examples in a chunk.

    Returns:
      The pytree that `function(data, ones)` would give.
    """
    return map_and_sum(lambda *chunk: ((), function(*chunk)), data, chunk_size)[1]


def map_and_sum(
    function: Callable,
    data: Any,
    chunk_size: int,
    so_far: Any = None,
    blocks: tuple[Any, Any] = (0, NUM_BLOCKS),
    counted: jax.Array | None = None,
) -> tuple[Any, Any]:
    """Joins and adds up what `function` gives for chunks of examples, at once.

    Args:
      function: (chunk, weights) → (per-example results, sums), as in the two functions above.
      data: batch of n examples.
      chunk_size: largest number of examples in a chunk.
      so_far: what to go on from, of the shapes of the result.
      blocks: which of the `NUM_BLOCKS` blocks of chunks to work on, where there is something to go
        on from: from the first up to, without, the last; they may be tracers.
      counted: (n,) which examples count in the sums; None counts all.

    Returns:
      (joined, total).
    """
    n = num_examples(data)
    num_chunks, length = _even_chunks(n, chunk_size)
    first, last = 0, num_chunks
    if so_far is not None:
        first, last = (num_chunks * k // NUM_BLOCKS for k in blocks)
    elif num_chunks == 1:
        return function(data, jnp.ones(n) if counted is None else counted.astype(jnp.float32))
    else:
        joined, total = jax.eval_shape(function, _chunk(data, 0, length), jnp.ones(length))
        joined = jax.tree.map(lambda s: jnp.zeros((n, *s.shape[1:]), s.dtype), joined)
        so_far = joined, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), total)

    def work_on(i, so_far):
        start = jnp.minimum(i * length, n - length)
        new = start + jnp.arange(length) >= i * length
        if counted is not None:
            new &= _chunk(counted, start, length)
        parts, sums = function(_chunk(data, start, length), new.astype(jnp.float32))
        joined, total = so_far
        joined = jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, start, 0),
            joined,
            parts,
        )
        return joined, jax.tree.map(jnp.add, total, sums)

    return jax.lax.fori_loop(first, last, work_on, so_far)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples where they are worked on.

    Attributes:
      data: batch of them; where they are spread, the last is repeated until all shares are equal.
      n: how many there are.
      sharding: of their axis over several devices; None on one.
    """

    data: Any
    n: int = dataclasses.field(metadata={"static": True})
    sharding: NamedSharding | None = dataclasses.field(default=None, metadata={"static": True})

    def start(self, joined: Any, total: Any) -> tuple[Any, Any]:
        """Zeros to go on from, of the shapes of the result on one device, put where it will be."""
        if self.sharding is None:
            return joined, total
        return put_spread(joined, self.sharding), put_everywhere(total, self.sharding)

    def finish(self, joined: Any, total: Any = ()) -> tuple[Any, Any]:
        """The results of `spread` as one device gives them."""
        if self.sharding is None:
            return joined, total
        joined, total = gather((joined, total))
        return jax.tree.map(lambda x: x[: self.n], joined), total


def examples_on(data: Any, sharding: NamedSharding | None) -> Examples:
    """The data on one device, or spread over several."""
    n = num_examples(data)
    return Examples(data if sharding is None else put_spread(data, sharding), n, sharding)


def spread(work: Callable, examples: Examples, so_far: Any, *given: Any) -> tuple[Any, Any]:
    """Lets every device work on its own share of the examples.

    Args:
      work: (data, counted, so_far, *given) → (joined, total), as of `map_and_sum`, for the examples
        in `data`. It closes over no arrays.
      examples: all of them.
      so_far: what to go on from, of the shapes of the result; or None.
      given: what all devices need.

    Returns:
      (joined, total): the per-example results, spread as the examples are, and what the devices'
      totals add up to.
    """
    sharding = examples.sharding
    if sharding is None:
        return work(examples.data, None, so_far, *given)
    own, everywhere = sharding.spec, PartitionSpec()

    def on_share(data: Any, so_far: Any, *given: Any) -> tuple[Any, Any]:
        device, length = jax.lax.axis_index(own[0]), num_examples(data)
        counted = device * length + jnp.arange(length) < examples.n
        if so_far is not None:  # the total so far is to be added once
            joined, total = so_far
            once = jax.tree.map(lambda t: jnp.where(device == 0, t, jnp.zeros_like(t)), total)
            so_far = joined, once
        with as_on_one_device():
            joined, total = work(data, counted, so_far, *given)
        return joined, jax.lax.psum(total, own[0])

    program = jax.shard_map(
        on_share,
        mesh=sharding.mesh,
        in_specs=(
            own,
            everywhere if so_far is None else (own, everywhere),
            *[everywhere] * len(given),
        ),
        out_specs=(own, everywhere),
        check_vma=False,
    )
    return program(examples.data, so_far, *given)


def in_blocks(program: Callable, so_far: Any, n: int, description: str) -> Any:
    """Calls (so_far, blocks) → so_far until all blocks are done, and shows how far it has come.

    A call comprises as many blocks as, going by the one before, take about half a second.
    """
    done, count = 0, 1
    with Progress(n, description, "examples", delay=2.0) as progress:
        while done < NUM_BLOCKS:
            last, start = min(done + count, NUM_BLOCKS), time.perf_counter()
            so_far = jax.block_until_ready(program(so_far, (done, last)))
            progress.update(n * last // NUM_BLOCKS - n * done // NUM_BLOCKS)
            seconds = (time.perf_counter() - start) / (last - done)
            done, count = last, max(1, int(_SECONDS_PER_CALL / seconds))
    return so_far


def mean_metrics(metrics_of: Callable, data: Any, chunk_size: int) -> dict[str, jax.Array]:
    """Mean over the examples of each of the per-example metrics that `metrics_of(batch)` gives."""
    sums = sum_examples(
        lambda *chunk: weighted_sums(metrics_of(chunk[0]), chunk[1]), data, chunk_size
    )
    return {name: total / num_examples(data) for name, total in sums.items()}


def weighted_sums(metrics: Any, weights: jax.Array) -> dict[str, jax.Array]:
    """Σ_i weight_i m_i of each metric; what has no weight does not count, whatever it is."""
    with jax.numpy_dtype_promotion("standard"):  # counts and half precision become float32
        return {k: jnp.sum(weights * v, where=weights > 0) for k, v in named(metrics).items()}


def named(metrics: Any) -> dict[str, jax.Array]:
    """Per-example metrics as a dict; losses without a name are called "loss"."""
    return dict(metrics) if isinstance(metrics, Mapping) else {"loss": metrics}


def has_convolutions(function: Callable, *args: Any) -> bool:
    """Whether the program of `function(*args)` contains a convolution.

    With a convolution in it, a program is better mapped over parameters one after another: under
    `vmap` each becomes a grouped convolution, which is several times slower.
    """
    return contains({"conv_general_dilated", "convolution_map"}, function, *args)


def contains(primitives: set[str], function: Callable, *args: Any) -> bool:
    """Whether the program of `function(*args)` has one of the operations in it."""
    return _contains(primitives, jax.make_jaxpr(function)(*args).jaxpr)


def _contains(primitives: set[str], jaxpr: Any) -> bool:
    for equation in jaxpr.eqns:
        if equation.primitive.name in primitives:
            return True
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner) and _contains(primitives, getattr(inner, "jaxpr", inner)):
                return True
    return False


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _even_chunks(n: int, chunk_size: int) -> tuple[int, int]:
    num_chunks = math.ceil(n / chunk_size)
    return num_chunks, math.ceil(n / num_chunks)


def _chunk(data: Any, start: Any, length: int) -> Any:
    """Some of the examples. The last chunk reaches back, where keys are used once more."""
    part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, length), data)
    return keys_cloned(part)
