"""What `fit` makes of its arguments before the first step, and what it asks of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_floating
from .._streaming import has_convolutions, named
from .._tree import leaves_with_path, num_examples, path_name
from ._epoch import ReplicaMode
from ._players import Player, by_player
from ._state import TrainState


def start(
    key, players: Sequence[Player], params, model_state, opt_state, hyperparams, replicas, stacked
) -> tuple[TrainState, jax.Array]:
    """The carry before the first step, of arrays that are its own, and the key of each run."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError("key must be a typed key: use jax.random.key, not jax.random.PRNGKey")
    if key.shape not in ((), (replicas,)):
        raise ValueError(f"key must be a single key, or one for each replica, got {key.shape}")
    for player in players:
        check_floating(player.own(params), player.label("params"))
    params, model_state = own((by_player(players, lambda p: p.own(params)), model_state))
    for player in players:
        if not jax.tree.leaves(player.own(params)):
            raise ValueError(f"{player.label('params')} holds no arrays")

    def init(params, hyperparams):
        def own_init(player):
            return player.transformation(player.own(hyperparams)).init(player.own(params))

        return by_player(players, own_init)

    step, finite = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    if replicas is None:
        opt_state = _going_on(opt_state, own(init(params, hyperparams)))
        return TrainState(params, model_state, opt_state, step, finite), key
    repeat = functools.partial(jax.tree.map, lambda x: jnp.stack([x] * replicas))
    if not stacked:
        params, model_state, opt_state = repeat((params, model_state, opt_state))
    elif num_examples((params, model_state), "params and model_state") != replicas:
        raise ValueError(f"stacked params need a leading axis of {replicas} replicas")
    fold_keys = opt_state is None or not stacked
    opt_state = _going_on(opt_state, own(jax.vmap(init)(params, hyperparams)))
    if fold_keys:
        opt_state = jax.tree.map(functools.partial(_own_keys, replicas), opt_state)
    state = TrainState(params, model_state, opt_state, *repeat((step, finite)))
    return state, key if key.shape else jax.random.split(key, replicas)


def _own_keys(replicas: int, leaf: jax.Array) -> jax.Array:
    """Gives each replica a random key of its own where the optimizer has one."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.vmap(jax.random.fold_in)(leaf, jnp.arange(replicas)) if is_key else leaf


def _going_on(given: Any, new: Any) -> Any:
    """The state of the optimizer that was given, in arrays of its own; the new one where none was.

    Raises:
      ValueError: if it isn't such a state as the new one.
    """
    if given is None:
        return new
    source = "give that of a run with the same optimizer and params, or of the optimizer's init"
    if jax.tree.structure(given) != jax.tree.structure(new):
        raise ValueError(f"opt_state is of another structure than the optimizer's: {source}")
    given = own(given)
    for (path, old), leaf in zip(leaves_with_path(given), jax.tree.leaves(new), strict=True):
        if (old.shape, old.dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(
                f"opt_state: {path_name(path)} is {old.dtype} {old.shape}, the optimizer's is "
                f"{leaf.dtype} {leaf.shape}: {source}"
            )
    return given


def own(tree: Any) -> Any:
    """Copies of all leaves, so that the donation of the others' buffers leaves them alone."""
    return jax.tree.map(_copy, tree)


def _copy(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x.copy() if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jnp.array(x, x.dtype)


def fold_in_epoch(keys: jax.Array, epoch: int) -> jax.Array:
    fold = functools.partial(jax.random.fold_in, data=epoch)
    return jax.vmap(fold)(keys) if keys.ndim else fold(keys)


def check_loss(
    players: Sequence[Player], train_loss, augment, state, keys, batch, replicas
) -> ReplicaMode:
    """Looks at the shapes that such a batch gives; returns how replicas are best run."""
    params, model_state = state.params, state.model_state
    if replicas is not None:
        params, model_state, keys = jax.tree.map(lambda x: x[0], (params, model_state, keys))

    def one_batch(loss, params, model_state, batch, key):
        augment_key, loss_key = jax.random.split(key)
        if augment is not None:
            batch = augment(augment_key, batch)
        metrics, new_state = loss(params, model_state, batch, loss_key)
        return named(metrics), new_state

    args = (params, model_state, batch, keys)
    for player in players:
        name = player.label("train_loss")
        metrics, new_state = jax.eval_shape(one_batch, player.own(train_loss), *args)
        _check_metrics(name, metrics, num_examples(batch))
        if _kind(new_state) != _kind(model_state):
            raise ValueError(
                f"{name} must return a model_state of the same structure as it was given"
            )
    if replicas is None:
        return None
    one_after_another = jax.default_backend() == "cpu" or any(
        has_convolutions(one_batch, player.own(train_loss), *args) for player in players
    )
    return "map" if one_after_another else "vmap"


def _check_metrics(source: str, metrics: dict[str, Any], batch_size: int) -> None:
    if "loss" not in metrics:
        raise ValueError(f"{source} gave {', '.join(metrics)} but no 'loss'")
    for name, values in metrics.items():
        if values.shape != (batch_size,):
            raise ValueError(
                f"{source} must give one {name} per example, shape ({batch_size},) here, "
                f"got {values.shape}: leave the mean to fit"
            )
    if not jnp.issubdtype(metrics["loss"].dtype, jnp.floating):
        raise TypeError(f"{source} must give floating losses, got {metrics['loss'].dtype}")


def _kind(tree: Any) -> Any:
    """What compiled programs ask of a carry: structure, shapes, dtypes."""
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]
