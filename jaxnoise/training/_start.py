"""What `fit` makes of its arguments before the first step, and what it asks of them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from .._streaming import has_convolutions, named
from .._tree import num_examples
from ._epoch import ReplicaMode
from ._state import TrainState


def method_of(owner: Any, name: str) -> Partial | None:
    """The method as a pytree, with its owner's arrays for leaves, or None where there is none."""
    method = getattr(type(owner), name, None)
    return None if method is None else Partial(method, owner)


def transformation_of(optimizer: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    ready = hasattr(optimizer, "update") or not callable(optimizer)
    made: Any = optimizer if ready else optimizer(schedule)
    if not (hasattr(made, "init") and hasattr(made, "update")):
        raise TypeError(
            "optimizer must be an optax transformation, or a function of the learning-rate "
            f"schedule that makes one, got {made!r}"
        )
    return made


def start(key, optimizer, params, model_state, replicas, stacked) -> tuple[TrainState, jax.Array]:
    """The carry before the first step, of arrays that are its own, and the key of each run."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError("key must be a typed key: use jax.random.key, not jax.random.PRNGKey")
    if key.shape not in ((), (replicas,)):
        raise ValueError(f"key must be a single key, or one for each replica, got {key.shape}")
    params, model_state = own((params, model_state))
    if not jax.tree.leaves(params):
        raise ValueError("params holds no arrays")
    step, finite = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    if replicas is None:
        opt_state = own(optimizer.init(params))
        return TrainState(params, model_state, opt_state, step, finite), key
    repeat = functools.partial(jax.tree.map, lambda x: jnp.stack([x] * replicas))
    if not stacked:
        params, model_state = repeat((params, model_state))
    elif num_examples((params, model_state), "params and model_state") != replicas:
        raise ValueError(f"stacked params need a leading axis of {replicas} replicas")
    opt_state = own(jax.vmap(optimizer.init)(params))
    opt_state = jax.tree.map(functools.partial(_own_keys, replicas), opt_state)
    state = TrainState(params, model_state, opt_state, *repeat((step, finite)))
    return state, key if key.shape else jax.random.split(key, replicas)


def _own_keys(replicas: int, leaf: jax.Array) -> jax.Array:
    """Gives each replica a random key of its own where the optimizer has one."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.vmap(jax.random.fold_in)(leaf, jnp.arange(replicas)) if is_key else leaf


def own(tree: Any) -> Any:
    """Copies of all leaves, so that the donation of the others' buffers leaves them alone."""
    return jax.tree.map(_copy, tree)


def _copy(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x.copy() if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jnp.array(x, x.dtype)


def fold_in_epoch(keys: jax.Array, epoch: int) -> jax.Array:
    fold = functools.partial(jax.random.fold_in, data=epoch)
    return jax.vmap(fold)(keys) if keys.ndim else fold(keys)


def check_loss(loss, augment, state, keys, data, batch_size, replicas) -> ReplicaMode:
    """Looks at the shapes that one batch gives; returns how replicas are best run."""
    batch = jax.tree.map(lambda x: x[:batch_size], data)
    params, model_state = state.params, state.model_state
    if replicas is not None:
        params, model_state, keys = jax.tree.map(lambda x: x[0], (params, model_state, keys))

    def one_batch(params, model_state, batch, key):
        augment_key, loss_key = jax.random.split(key)
        if augment is not None:
            batch = augment(augment_key, batch)
        metrics, new_state = loss(params, model_state, batch, loss_key)
        return named(metrics), new_state

    args = (params, model_state, batch, keys)
    metrics, new_state = jax.eval_shape(one_batch, *args)
    if "loss" not in metrics:
        raise ValueError(f"train_loss gave {', '.join(metrics)} but no 'loss'")
    for name, values in metrics.items():
        if values.shape != (batch_size,):
            raise ValueError(
                f"train_loss must give one {name} per example, shape ({batch_size},) here, "
                f"got {values.shape}: leave the mean to fit"
            )
    kinds = [
        (jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)])
        for tree in (new_state, model_state)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "train_loss must return a model_state of the same structure as it was given"
        )
    if replicas is None:
        return None
    on_cpu = jax.default_backend() == "cpu"
    return "map" if on_cpu or has_convolutions(one_batch, *args) else "vmap"
