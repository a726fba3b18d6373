"""One epoch of training as one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from .._streaming import default_chunk_size, named
from .._tree import all_finite, num_examples
from ._evaluate import mean_per_example
from ._players import Player
from ._state import TrainState

ReplicaMode = Literal["map", "vmap"] | None


@functools.partial(
    jax.jit, static_argnames=("players", "batch_size", "mode"), donate_argnames="state"
)
def run_epoch(
    train_loss: Any,
    augment: Any,
    state: TrainState,
    data: Any,
    key: jax.Array,
    hyperparams: Any,
    *,
    players: tuple[Player, ...],
    batch_size: int,
    mode: ReplicaMode,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Trains for one pass over the data.

    The examples are permuted; where the batch size does not divide their number, the last batch is
    filled up from the start of the permutation, so that all steps weigh the same. In a step each
    player in turn moves its own parameters, on the same batch with the same key. From a step in
    which a loss or an update is not finite on, the state is frozen as it was before.

    Args:
      train_loss: (params, model_state, batch, key) → (metrics, model_state), a pytree; in a game
        one for each player, by name.
      augment: (key, batch) → batch, a pytree, or None.
      state: carry; with replicas every leaf has a leading (n,).
      data: batch of all examples, on the device.
      key: typed key of this epoch; with replicas (n,) of them.
      hyperparams: name → value that the optimizer is made with, in a game by player; with replicas
        (n,) of each.
      players: who takes a step, in order.
      batch_size: examples per step.
      mode: how replicas are run: None without them, "map" one after another, "vmap" side by side.

    Returns:
      (state, name → mean metric over the steps).
    """
    epoch = functools.partial(_epoch, train_loss, augment, data, players, batch_size)
    return over_replicas(epoch, mode)(state, key, hyperparams)


@functools.partial(jax.jit, static_argnames="mode")
def run_evaluation(
    evaluate: Any, state: TrainState, data: Any, *, mode: ReplicaMode
) -> dict[str, jax.Array]:
    """Name → mean metric over the data at the present parameters."""

    def one(state):
        metrics_of = functools.partial(evaluate, state.params, state.model_state)
        return mean_per_example(metrics_of, data, default_chunk_size(data), "evaluate")

    return over_replicas(one, mode)(state)


def over_replicas(function: Callable, mode: ReplicaMode) -> Callable:
    if mode is None:
        return function
    if mode == "vmap":
        return jax.vmap(function)
    return lambda *args: jax.lax.map(lambda row: function(*row), args)


def _epoch(
    train_loss, augment, data, players: Sequence[Player], batch_size, state, key, hyperparams
):
    step = step_of(train_loss, augment, players, hyperparams)

    def gathered(state, inputs):
        indices, key = inputs
        return step(state, jax.tree.map(lambda x: x[indices], data), key)

    steps = steps_of_epoch(key, num_examples(data), batch_size)
    state, means = jax.lax.scan(gathered, state, steps)
    return state, {name: jnp.mean(values) for name, values in means.items()}


def steps_of_epoch(key: jax.Array, n: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """Numbers of the examples of each step, (steps, batch_size), and the steps' keys, (steps,)."""
    num_steps = -(-n // batch_size)
    order_key, step_key = jax.random.split(key)
    order = jax.random.permutation(order_key, n)
    order = jnp.concatenate([order, order[: num_steps * batch_size - n]])
    return order.reshape(num_steps, batch_size), jax.random.split(step_key, num_steps)


def step_of(train_loss, augment, players: Sequence[Player], hyperparams) -> Callable:
    """(state, batch, key) → (state, name → mean metric), one step of the epoch."""
    turns = [
        functools.partial(
            _turn,
            player,
            player.own(train_loss),
            player.transformation(player.own(hyperparams)),
        )
        for player in players
    ]

    def step(state: TrainState, batch, key):
        augment_key, loss_key = jax.random.split(key)
        if augment is not None:
            batch = augment(augment_key, batch)
        new, means = state, {}
        for turn in turns:
            new, metrics = turn(new, batch, jax.random.clone(loss_key))
            means |= metrics
        new = new._replace(step=state.step + 1)
        kept = jax.tree.map(functools.partial(_select, new.finite), new, state)
        return kept._replace(finite=new.finite), means

    return step


def _turn(player: Player, loss, optimizer, state: TrainState, batch, key):
    """One player's step: (state after it, its mean metrics by name)."""

    def mean_loss(own):
        params = player.put(state.params, own)
        metrics, model_state = loss(params, state.model_state, batch, key)
        means = {name: jnp.mean(values) for name, values in named(metrics).items()}
        return means["loss"], (means, model_state)

    params, opt_state = player.own(state.params), player.own(state.opt_state)
    grad_fn = jax.value_and_grad(mean_loss, has_aux=True)
    (value, (means, model_state)), grads = grad_fn(params)
    updates, opt_state = optimizer.update(grads, opt_state, params, value=value)
    new = state._replace(
        params=player.put(state.params, optax.apply_updates(params, updates)),
        model_state=model_state,
        opt_state=player.put(state.opt_state, opt_state),
        finite=state.finite & jnp.isfinite(value) & all_finite(updates),
    )
    return new, {player.label(name): mean for name, mean in means.items()}


def _select(chosen: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where chosen, else `old`; keys through their bits, lest JAX take them for used."""
    if not jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        return jnp.where(chosen, new, old)
    bits = jnp.where(chosen, jax.random.key_data(new), jax.random.key_data(old))
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(new))
