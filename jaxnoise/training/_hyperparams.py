"""Values that the optimizer is made with inside the compiled program, one for each replica."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._players import Player, by_player


def hyperparams_of(players: Sequence[Player], hyperparams: Any, replicas: int | None) -> Any:
    """The values as arrays, by name; in a game by player and name, of every player.

    Raises:
      TypeError: if an optimizer cannot take them.
      ValueError: if there isn't a value for each replica, or a player is unknown.
    """
    given = {} if hyperparams is None else hyperparams
    if not isinstance(given, Mapping):
        raise TypeError(f"hyperparams must be a dict of values by name, got {given!r}")
    if players[0].name is not None:
        names = [str(player.name) for player in players]
        if unknown := [str(name) for name in given if name not in names]:
            raise ValueError(
                f"hyperparams must be by player ({', '.join(names)}), got {', '.join(unknown)}"
            )
        given = {name: given.get(name, {}) for name in names}
    return by_player(players, lambda player: _values(player, player.own(given), replicas))


def _values(player: Player, values: Mapping[str, Any], replicas: int | None) -> dict[str, Any]:
    source, optimizer = player.label("hyperparams"), player.label("optimizer")
    if not isinstance(values, Mapping):
        raise TypeError(f"{source} must be a dict of values by name, got {values!r}")
    if not values:
        return {}
    if player.schedule is None:
        raise TypeError(
            f"{source} need a function as {optimizer}, (schedule, **hyperparams) → "
            "transformation, got a ready transformation"
        )
    try:
        inspect.signature(player.optimizer).bind(player.schedule, **values)
    except TypeError as error:
        raise TypeError(f"{source} don't suit {optimizer}(schedule, …): {error}") from error
    arrays = {name: _strong(value) for name, value in values.items()}
    for name, value in arrays.items():
        if replicas is not None and value.shape[:1] != (replicas,):
            raise ValueError(
                f"{source} must give one value for each of {replicas} replicas, shape "
                f"({replicas}, …): {name} has {value.shape}"
            )
    for index in range(replicas or 0):  # here the values can be looked at by whoever takes them
        player.transformation({name: value[index] for name, value in arrays.items()})
    return arrays


def _strong(value: Any) -> jax.Array:
    """An array without the weak type of Python's numbers, so that all programs promote alike."""
    value = jnp.asarray(value)
    return jnp.array(value, value.dtype)
