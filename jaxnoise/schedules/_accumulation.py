"""A growing batch at a fixed shape, by accumulating gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_count
from ._noise import NoiseStage, by_stage


def accumulation_schedule(
    stages: Sequence[NoiseStage], micro_batch_size: int, num_examples: int
) -> Callable[[Any], jax.Array]:
    """How many micro-batches make up each update, for `optax.MultiSteps`.

        k = b/m micro-batches of m examples are a batch of b

    A whole training by stages is then one program of one shape, at the memory of m examples. Where
    the loss treats examples one by one, an update is that of the whole batch up to rounding; batch
    normalisation sees micro-batches.

    `MultiSteps` hands over its number of updates so far, and so does the optimizer inside it to
    `stage_schedule`. Stages switch there after as many updates as in training on whole batches,
    epochs·⌈n/b⌉. These take epochs·⌈n/m⌉ micro-batches, hence as many epochs, where k divides the
    number ⌈n/m⌉ of an epoch. Else the last update of each epoch takes fewer than k of the next, and
    the stages that follow begin as much later.

    Args:
      stages: one or more stages, in order.
      micro_batch_size: m, which divides every batch size.
      num_examples: n, the number of examples in the data.

    Returns:
      A function, number of updates so far → k; past the end the last one stays.

    Raises:
      ValueError: if there are no stages or examples, or m doesn't divide a batch size.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> import jaxnoise as jn
      >>> stages = jn.schedules.noise_stages("grow_batch", learning_rate=0.1, batch_size=4,
      ...     num_stages=2, epochs_per_stage=1, decay=2**-0.5)
      >>> every_k = jn.schedules.accumulation_schedule(stages, 4, num_examples=16)
      >>> [int(every_k(update)) for update in range(6)]
      [1, 1, 1, 1, 2, 2]

      All stages are one of micro-batches to `jn.training.fit`, whose steps are these:

      >>> def train_loss(params, model_state, batch, key):
      ...     return (batch["x"] - params) ** 2, model_state
      >>> tx = optax.MultiSteps(optax.sgd(jn.schedules.stage_schedule(stages, 16)), every_k)
      >>> result = jn.training.fit(
      ...     jax.random.key(0), train_loss, jnp.array(0.0), (), tx, {"x": jnp.ones(16)},
      ...     jn.schedules.NoiseStage(epochs=2, learning_rate=0.1, batch_size=4), progress=False)
      >>> int(result.history.steps[-1]), int(result.opt_state.gradient_step)
      (8, 6)
    """
    check_count(micro_batch_size, "micro_batch_size")
    for stage in stages:
        if stage.batch_size % micro_batch_size:
            raise ValueError(
                f"micro_batch_size {micro_batch_size} must divide the batch size of every stage, "
                f"got {stage.batch_size}"
            )
    counts = [stage.batch_size // micro_batch_size for stage in stages]
    return by_stage(lambda: jnp.array(counts, jnp.int32), stages, num_examples)
