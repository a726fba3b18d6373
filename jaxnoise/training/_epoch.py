"""One epoch of training as one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from .._streaming import named
from .._tree import all_finite, num_examples
from ._evaluate import mean_per_example
from ._state import TrainState

ReplicaMode = Literal["map", "vmap"] | None


@functools.partial(
    jax.jit, static_argnames=("optimizer", "batch_size", "mode"), donate_argnames="state"
)
def run_epoch(
    train_loss: Any,
    augment: Any,
    state: TrainState,
    data: Any,
    key: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    mode: ReplicaMode,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Trains for one pass over the data.

    The examples are permuted; where the batch size does not divide their number, the last batch is
    filled up from the start of the permutation, so that all steps weigh the same. From a step whose
    loss or update is not finite on, the state is frozen as it was before.

    Args:
      train_loss: (params, model_state, batch, key) → (metrics, model_state), a pytree.
      augment: (key, batch) → batch, a pytree, or None.
      state: carry; with replicas every leaf has a leading (n,).
      data: batch of all examples, on the device.
      key: typed key of this epoch; with replicas (n,) of them.
      optimizer: the transformation.
      batch_size: examples per step.
      mode: how replicas are run: None without them, "map" one after another, "vmap" side by side.

    Returns:
      (state, name → mean metric over the steps).
    """
    epoch = functools.partial(_epoch, train_loss, augment, data, optimizer, batch_size)
    return over_replicas(epoch, mode)(state, key)


@functools.partial(jax.jit, static_argnames=("chunk_size", "mode"))
def run_evaluation(
    evaluate: Any, state: TrainState, data: Any, *, chunk_size: int, mode: ReplicaMode
) -> dict[str, jax.Array]:
    """Name → mean metric over the data at the present parameters."""

    def one(state):
        metrics_of = functools.partial(evaluate, state.params, state.model_state)
        return mean_per_example(metrics_of, data, chunk_size, "evaluate")

    return over_replicas(one, mode)(state)


def over_replicas(function: Callable, mode: ReplicaMode) -> Callable:
    if mode is None:
        return function
    if mode == "vmap":
        return jax.vmap(function)
    return lambda *args: jax.lax.map(lambda row: function(*row), args)


def _epoch(train_loss, augment, data, optimizer, batch_size, state, key):
    n = num_examples(data)
    num_steps = -(-n // batch_size)
    order_key, step_key = jax.random.split(key)
    order = jax.random.permutation(order_key, n)
    order = jnp.concatenate([order, order[: num_steps * batch_size - n]])
    batches = order.reshape(num_steps, batch_size)
    keys = jax.random.split(step_key, num_steps)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(state: TrainState, inputs):
        indices, key = inputs
        augment_key, loss_key = jax.random.split(key)
        batch = jax.tree.map(lambda x: x[indices], data)
        if augment is not None:
            batch = augment(augment_key, batch)

        def mean_loss(params):
            metrics, model_state = train_loss(params, state.model_state, batch, loss_key)
            means = {name: jnp.mean(values) for name, values in named(metrics).items()}
            return means["loss"], (means, model_state)

        grad_fn = jax.value_and_grad(mean_loss, has_aux=True)
        (loss, (means, model_state)), grads = grad_fn(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        finite = state.finite & jnp.isfinite(loss) & all_finite(updates)
        new = TrainState(params, model_state, opt_state, state.step + 1, finite)
        kept = jax.tree.map(functools.partial(_select, finite), new, state)
        return kept._replace(finite=finite), means

    state, means = jax.lax.scan(step, state, (batches, keys))
    return state, {name: jnp.mean(values) for name, values in means.items()}


def _select(chosen: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where chosen, else `old`; keys through their bits, lest JAX take them for used."""
    if not jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        return jnp.where(chosen, new, old)
    bits = jnp.where(chosen, jax.random.key_data(new), jax.random.key_data(old))
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(new))
