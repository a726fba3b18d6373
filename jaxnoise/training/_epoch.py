"""One epoch of training as one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from .._sharding import as_on_one_device
from .._streaming import default_chunk_size, named
from .._tree import all_finite, num_examples
from ._devices import everywhere, spread
from ._evaluate import mean_over_devices, mean_per_example
from ._players import Player
from ._state import TrainState

ReplicaMode = Literal["map", "vmap"] | None


@functools.partial(
    jax.jit, static_argnames=("players", "batch_size", "mode", "sharding"), donate_argnames="state"
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
    sharding: NamedSharding | None = None,
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
      sharding: that of the replicas, or without them of each batch, where there is any.

    Returns:
      (state, name → mean metric over the steps).
    """
    batches = sharding if mode is None else None
    epoch = functools.partial(_epoch, players, batch_size, batches)
    shared, own = (train_loss, augment, data), (state, key, hyperparams)
    return over_replicas(epoch, shared, own, mode, sharding)


@functools.partial(jax.jit, static_argnames=("mode", "sharding"))
def run_evaluation(
    evaluate: Any,
    state: TrainState,
    data: Any,
    *,
    mode: ReplicaMode,
    sharding: NamedSharding | None = None,
) -> dict[str, jax.Array]:
    """Name → mean metric over the data at the present parameters."""

    if mode is None and sharding is not None:
        return mean_over_devices(evaluate, (state.params, state.model_state), data, sharding)

    def one(evaluate, data, state):
        metrics_of = functools.partial(evaluate, state.params, state.model_state)
        return mean_per_example(metrics_of, data, default_chunk_size(data), "evaluate")

    return over_replicas(one, (evaluate, data), (state,), mode, sharding)


def over_replicas(
    function: Callable, shared: tuple, own: tuple, mode: ReplicaMode, sharding: NamedSharding | None
) -> Any:
    """function(*shared, *own) for every replica's own arguments; each device runs its part of them.

    Without replicas it is called once.
    """
    if mode is None:
        return function(*shared, *own)

    def run(shared, own):
        one = functools.partial(function, *shared)
        return jax.vmap(one)(*own) if mode == "vmap" else jax.lax.map(lambda x: one(*x), own)

    def of_one_device(shared, own):
        with as_on_one_device():
            return run(shared, own)

    if sharding is None:
        return run(shared, own)
    spec, mesh = sharding.spec, sharding.mesh
    specs = {"in_specs": (PartitionSpec(), spec), "out_specs": spec}
    return jax.shard_map(of_one_device, mesh=mesh, **specs, check_vma=False)(shared, own)


def _epoch(
    players: Sequence[Player],
    batch_size: int,
    sharding: NamedSharding | None,
    train_loss,
    augment,
    data,
    state,
    key,
    hyperparams,
):
    step = step_of(train_loss, augment, players, hyperparams, sharding)

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


def step_of(
    train_loss,
    augment,
    players: Sequence[Player],
    hyperparams,
    sharding: NamedSharding | None = None,
) -> Callable:
    """(state, batch, key) → (state, name → mean metric), one step of the epoch.

    With a sharding the examples of the batch are spread, and all else is on every device: what is
    to cross between them, such as the sum of the gradients, XLA finds.
    """
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
        batch = spread(batch, sharding)
        if augment is not None:
            batch = spread(augment(augment_key, batch), sharding)
        new, means = state, {}
        for turn in turns:
            new, metrics = turn(new, batch, jax.random.clone(loss_key))
            means |= metrics
        new = new._replace(step=state.step + 1)
        kept = jax.tree.map(functools.partial(select, new.finite), new, state)
        return everywhere((kept._replace(finite=new.finite), means), sharding)

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


def select(chosen: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """`new` where chosen, else `old`; keys through their bits, lest JAX take them for used."""
    if not jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        return jnp.where(chosen, new, old)
    bits = jnp.where(chosen, jax.random.key_data(new), jax.random.key_data(old))
    return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(new))
