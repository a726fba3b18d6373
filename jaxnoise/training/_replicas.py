"""How replicas are run: one after another or side by side, whichever is faster here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ..schedules import NoiseStage
from ._epoch import ReplicaMode
from ._start import fold_in_epoch, own
from ._state import TrainState

_FEWEST_STEPS = 100_000  # of all replicas together, for which timing costs little
_TIMED_STEPS, _REPETITIONS = 8, 4  # the first repetition compiles
_MODES: tuple[ReplicaMode, ...] = ("map", "vmap")


def is_worth_timing(plan: Sequence[NoiseStage], num_examples: int, replicas: int) -> bool:
    """Whether training takes so many steps that finding the faster mode costs little.

    Several processes, which might find different ones, don't.
    """
    steps = sum(stage.steps_per_epoch(num_examples) for stage in plan)  # a stage for each epoch
    return replicas > 1 and replicas * steps >= _FEWEST_STEPS and jax.process_count() == 1


def faster_mode(
    program: Callable, state: TrainState, data: Any, keys: jax.Array, hyperparams: Any, size: int
) -> ReplicaMode:
    """The mode in which a few steps, on copies of the state, take less time.

    The modes take turns, and the best of their repetitions counts. One that fails, for want of
    memory, has lost.
    """
    few = jax.tree.map(lambda x: x[: _TIMED_STEPS * size], data)

    def seconds(mode: ReplicaMode) -> float:
        args = jax.block_until_ready((own(state), few, fold_in_epoch(keys, 0), hyperparams))
        started = time.perf_counter()
        try:
            jax.block_until_ready(program(*args, batch_size=size, mode=mode))
        except jax.errors.JaxRuntimeError:
            return math.inf
        return time.perf_counter() - started

    rounds = [[seconds(mode) for mode in _MODES] for _ in range(_REPETITIONS)]
    best = [min(times) for times in zip(*rounds, strict=True)]
    return _MODES[best.index(min(best))]


def description_of(mode: ReplicaMode, replicas: int | None) -> str:
    """What is going on, for the progress bar."""
    if mode is None or replicas == 1:
        return "training"
    how = {"map": "one after another", "vmap": "side by side"}[mode]
    return f"training {replicas} replicas {how}"
