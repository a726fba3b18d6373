"""What is kept of every epoch, and the result and the error that are made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._sharding import on_host
from ..schedules import NoiseStage
from ._epoch import ReplicaMode
from ._state import Best, FitResult, History, NonFiniteLossError, TrainState


def record_of(state: TrainState, stage: NoiseStage, train, test, started) -> dict[str, Any]:
    """One epoch's line of the history, in plain numbers."""
    steps = int(np.max(on_host(state.step)))
    return {
        "steps": steps,
        "learning_rate": np.asarray(stage.learning_rate).tolist(),
        "batch_size": stage.batch_size,
        "seconds": time.perf_counter() - started,
        "train": {name: on_host(value).tolist() for name, value in train.items()},
        "test": {name: on_host(value).tolist() for name, value in test.items()},
    }


def note_of(record: dict[str, Any]) -> str:
    """The means of a record in a few words."""
    parts = []
    for part in ("train", "test"):
        for name, value in record[part].items():
            parts.append(f"{part} {name} {np.mean(value):.4g}")
    return ", ".join(parts)


def result_of(
    state: TrainState,
    best: Best | None,
    records: Sequence[dict[str, Any]],
    mode: ReplicaMode,
) -> FitResult:
    """What `fit` gives after the epochs of these records."""

    def column(name):
        return np.array([record[name] for record in records])

    def metrics(part):
        names = records[0][part] if records else ()
        return {k: np.stack([np.asarray(r[part][k]) for r in records], axis=-1) for k in names}

    steps, batch_size = column("steps").astype(int), column("batch_size").astype(int)
    new_steps = np.diff(steps, prepend=0)
    history = History(
        steps=steps,
        gradient_queries=np.cumsum(new_steps * batch_size),
        learning_rate=column("learning_rate"),
        batch_size=batch_size,
        seconds=column("seconds"),
        train=metrics("train"),
        test=metrics("test"),
    )
    return FitResult(state.params, state.model_state, state.opt_state, history, mode, best)


def non_finite(
    state: TrainState,
    best: Best | None,
    records: Sequence[dict[str, Any]],
    mode: ReplicaMode,
) -> NonFiniteLossError:
    """The error that says where the epoch after these records went wrong."""
    steps, finite = (np.atleast_1d(on_host(x)) for x in (state.step, state.finite))
    step = int(steps[~finite].min())
    where = f"step {step} (epoch {len(records) + 1})"
    if np.ndim(state.finite):
        where += f" of replica {', '.join(map(str, np.flatnonzero(~finite)))}"
    message = (
        f"the loss or the update is not finite at {where}; the state before it is kept in the "
        "error's .result: try a smaller learning rate, and look for non-finite data, or labels out "
        "of range"
    )
    return NonFiniteLossError(message, step, result_of(state, best, records, mode))
