"""Who trains: the players of a game, or the one side of ordinary training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from jax.tree_util import Partial

from .._tree import as_partial
from ..schedules import NoiseStage, stage_schedule


@dataclasses.dataclass(frozen=True)
class Player:
    """One that takes steps on its own parameters, with its own loss and optimizer.

    It is static in compiled programs: equal players share them.

    Attributes:
      name: its entry in the dicts of a game; None outside of games, where all is its own.
      optimizer: a transformation, or a function of the schedule, and by keyword of
        hyper-parameters, that makes one.
      schedule: step count → learning rate; None beside a ready transformation.
    """

    name: str | None
    optimizer: Any
    schedule: optax.Schedule | None

    def transformation(
        self, hyperparams: Mapping[str, jax.Array]
    ) -> optax.GradientTransformationExtraArgs:
        ready = self.schedule is None
        made = self.optimizer if ready else self.optimizer(self.schedule, **hyperparams)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise TypeError(
                f"{self.label('optimizer')} must be an optax transformation, or a function of the "
                f"learning-rate schedule that makes one, got {made!r}"
            )
        return optax.with_extra_args_support(made)

    def own(self, tree: Any) -> Any:
        """This player's part of the tree."""
        return tree if self.name is None else tree[self.name]

    def put(self, tree: Any, own: Any) -> Any:
        """The tree with this player's part replaced."""
        return own if self.name is None else {**tree, self.name: own}

    def label(self, metric: str) -> str:
        return metric if self.name is None else f"{self.name} {metric}"


@dataclasses.dataclass(frozen=True)
class StageSchedule:
    """`stage_schedule` as a value: equal for equal stages."""

    stages: tuple[NoiseStage, ...]
    num_examples: int

    def __post_init__(self):
        stage_schedule(self.stages, self.num_examples)  # says what is wrong with them

    def __call__(self, count: Any) -> Any:
        return stage_schedule(self.stages, self.num_examples)(count)


def players_of(
    train_loss: Any, params: Any, optimizer: Any, stages: Sequence[NoiseStage], num_examples: int
) -> tuple[Player, ...]:
    """The players in their order; one without a name where train_loss is no mapping.

    Raises:
      TypeError: if one is a mapping by player and another is not.
      ValueError: if there are no players, or not the same ones everywhere.
    """
    schedule = _hashable(StageSchedule(tuple(stages), num_examples))
    if not isinstance(train_loss, Mapping):
        return (_player(None, optimizer, schedule),)
    if not train_loss:
        raise ValueError("train_loss is an empty dict: give a loss for each player")
    if not all(isinstance(name, str) for name in train_loss):
        raise TypeError("train_loss must name its players by strings")
    names = ", ".join(train_loss)
    for what, entries in (("params", params), ("optimizer", optimizer)):
        if not isinstance(entries, Mapping):
            raise TypeError(
                f"{what} must be a dict with an entry for each player of train_loss ({names}), "
                f"got a {type(entries).__name__}"
            )
        if set(entries) != set(train_loss):
            raise ValueError(
                f"{what} must name the players of train_loss ({names}), "
                f"got ({', '.join(map(str, entries))})"
            )
    return tuple(_player(name, optimizer[name], schedule) for name in train_loss)


def _player(name: str | None, optimizer: Any, schedule: optax.Schedule) -> Player:
    ready = hasattr(optimizer, "update") or not callable(optimizer)
    return Player(name, optimizer, None) if ready else Player(name, _hashable(optimizer), schedule)


def _hashable(function: Callable) -> Any:
    """The function, or where its value has no hash, one that is known by its identity."""
    try:
        hash(function)
    except TypeError:
        return functools.partial(function)
    return function


def by_player(players: Sequence[Player], function: Callable[[Player], Any]) -> Any:
    """What the function gives for each player, by name in a game."""
    if players[0].name is None:
        return function(players[0])
    return {player.name: function(player) for player in players}


def loss_of(train_loss: Any) -> Any:
    """The loss as a pytree that gives all its metrics."""
    return method_of(train_loss, "metrics") or as_partial(train_loss)


def method_of(owner: Any, name: str) -> Partial | None:
    """The method as a pytree, with its owner's arrays for leaves, or None where there is none."""
    method = getattr(type(owner), name, None)
    return None if method is None else Partial(method, owner)
