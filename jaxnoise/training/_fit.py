"""Training by stages, whole epochs compiled."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._progress import Progress
from .._streaming import default_chunk_size
from .._tree import as_partial, num_examples
from ..schedules import NoiseStage, stage_schedule
from ._checkpoint import Checkpoints, describe_key
from ._epoch import run_epoch, run_evaluation
from ._start import check_loss, fold_in_epoch, method_of, own, start, transformation_of
from ._state import FitResult, History, NonFiniteLossError, TrainState


def fit(
    key: jax.Array,
    train_loss: Callable,
    params: Any,
    model_state: Any,
    optimizer: optax.GradientTransformation | Callable[[optax.Schedule], Any],
    data: Any,
    stages: NoiseStage | Sequence[NoiseStage],
    *,
    test_data: Any = None,
    evaluate: Callable | None = None,
    augment: Callable | None = None,
    replicas: int | None = None,
    replica_mode: Literal["auto", "map", "vmap"] = "auto",
    stacked: bool = False,
    checkpoint_dir: str | os.PathLike | None = None,
    on_epoch: Callable[[int, Any, Any], None] | None = None,
    progress: bool = True,
) -> FitResult:
    """Trains by stages of constant learning rate and batch size, each epoch one compiled program.

    The data stays on the device; permutation, gathering and augmentation happen inside the program.
    Optimizer and model state go on unchanged from stage to stage, and there is one compilation per
    batch size. The last batch of an epoch is filled up from the start of its permutation, so an
    epoch has ⌈n/b⌉ steps of b examples each. A batch's loss is the mean over its examples.

    Args:
      key: typed key, of order, augmentation and the model's randomness; with replicas also one for
        each of them, (n,).
      train_loss: (params, model_state, batch, key) → (losses (B,) or a dict of such metrics with
        "loss", model_state), as `jn.models.split_train` gives; its metrics are recorded.
      params: pytree of floating arrays; they are copied, not consumed.
      model_state: pytree of arrays, or () where there is none.
      optimizer: a transformation, or a function of the learning-rate schedule that makes one, such
        as `lambda lr: jn.transforms.trsgd(lr)`.
      data: batch of all n training examples; uint8 images take the least memory.
      stages: a `NoiseStage` or several. A ready transformation ignores their learning rates.
      test_data: batch of examples to evaluate on after every epoch.
      evaluate: (params, model_state, batch) → losses (B,) or a dict of metrics, in inference mode;
        not needed where `train_loss` comes from `split_train`.
      augment: (key, batch) → batch, applied to every training batch.
      replicas: number n of runs to train at once, which differ in their keys, `key` where it is
        (n,) of them, else `jax.random.split(key, n)`; all leaves of the result then have a leading
        (n,). Random keys in the optimizer's state become one for each replica, too.
      replica_mode: "map" trains replicas one after another in one program, bit for bit as separate
        runs; "vmap" side by side, equal up to rounding; "auto" takes "map" on CPU and wherever the
        loss contains convolutions, else "vmap".
      stacked: whether `params` and `model_state` already have the replicas' leading axis; otherwise
        all replicas start from the same ones.
      checkpoint_dir: folder of checkpoints, one written after each epoch; where it holds some of
        the same run, training goes on from the newest.
      on_epoch: called as on_epoch(epoch, params, model_state) on the host after every epoch, before
        its checkpoint is written; epochs count from 1. The values are copies that may be kept; with
        replicas they have the leading (n,). Epochs that a checkpoint holds already are not trained
        again, and not seen.
      progress: whether to show progress on standard error.

    Returns:
      A `FitResult`.

    Raises:
      NonFiniteLossError: (a ValueError) if a loss or an update is not finite; it names the step and
        keeps the state after the last good one.
      ValueError: if an argument is wrong; the message names it.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> import jaxnoise as jn
      >>> def train_loss(params, model_state, batch, key):
      ...     return (batch["x"] - params) ** 2, model_state
      >>> result = jn.training.fit(
      ...     jax.random.key(0), train_loss, jnp.array(0.0), (), optax.sgd, {"x": jnp.ones(16)},
      ...     jn.schedules.NoiseStage(epochs=5, learning_rate=0.1, batch_size=4), progress=False)
      >>> bool(result.params > 0.9), result.history.steps.tolist()
      (True, [4, 8, 12, 16, 20])
    """
    stages = [stages] if isinstance(stages, NoiseStage) else list(stages)
    n = num_examples(data)
    schedule = stage_schedule(stages, n)
    for stage in stages:
        if stage.batch_size > n:
            raise ValueError(f"batch_size {stage.batch_size} exceeds the {n} examples of data")
    if replicas is None and (stacked or replica_mode != "auto"):
        raise ValueError("stacked and replica_mode speak of replicas: give their number")
    if replicas is not None and replicas < 1:
        raise ValueError(f"replicas must be at least 1, got {replicas}")
    if replica_mode not in ("auto", "map", "vmap"):
        raise ValueError(f"replica_mode must be 'auto', 'map' or 'vmap', got {replica_mode!r}")
    transformation = transformation_of(optimizer, schedule)
    loss = method_of(train_loss, "metrics") or as_partial(train_loss)
    augment = None if augment is None else as_partial(augment)
    evaluate = evaluate or method_of(train_loss, "evaluate")
    if test_data is not None and evaluate is None:
        raise ValueError("test_data needs evaluate, (params, model_state, batch) → losses")
    if test_data is not None:
        num_examples(test_data, "test_data")

    data, test_data = jax.tree.map(jnp.asarray, (data, test_data))
    state, keys = start(key, transformation, params, model_state, replicas, stacked)
    mode = check_loss(loss, augment, state, keys, data, stages[0].batch_size, replicas)
    if mode is not None and replica_mode != "auto":
        mode = replica_mode

    checkpoints = None
    records: list[dict[str, Any]] = []
    if checkpoint_dir is not None:
        settings = {
            "key": describe_key(key),
            "num_examples": n,
            "stages": [
                [s.epochs, np.asarray(s.learning_rate).tolist(), s.batch_size] for s in stages
            ],
        }
        checkpoints = Checkpoints(checkpoint_dir, state, settings)

    epoch_program = functools.partial(run_epoch, loss, augment)
    plan = [stage for stage in stages for _ in range(stage.epochs)]
    try:
        if checkpoints is not None and (newest := checkpoints.newest()) is not None:
            state, records = newest
        started = time.perf_counter() - (records[-1]["seconds"] if records else 0.0)
        with Progress(len(plan), "training", "epochs", progress) as bar:
            bar.update(len(records))
            for epoch, stage in list(enumerate(plan))[len(records) :]:
                epoch_keys = fold_in_epoch(keys, epoch)
                state, train = epoch_program(
                    state,
                    data,
                    epoch_keys,
                    optimizer=transformation,
                    batch_size=stage.batch_size,
                    mode=mode,
                )
                if not np.all(state.finite):
                    raise _non_finite(state, epoch, records)
                test = {}
                if test_data is not None and evaluate is not None:
                    size = default_chunk_size(test_data)
                    program = as_partial(evaluate)
                    test = run_evaluation(program, state, test_data, chunk_size=size, mode=mode)
                records.append(_record(state, stage, train, test, started))
                if on_epoch is not None:
                    on_epoch(epoch + 1, *own((state.params, state.model_state)))
                if checkpoints is not None:
                    checkpoints.save(epoch + 1, state, records)
                bar.update(note=_note(records[-1]))
    finally:
        if checkpoints is not None:
            checkpoints.close()
    return _result(state, records)


def _record(state, stage, train, test, started) -> dict[str, Any]:
    """One epoch's line of the history, in plain numbers."""
    steps = int(np.max(state.step))
    return {
        "steps": steps,
        "learning_rate": np.asarray(stage.learning_rate).tolist(),
        "batch_size": stage.batch_size,
        "seconds": time.perf_counter() - started,
        "train": {name: np.asarray(value).tolist() for name, value in train.items()},
        "test": {name: np.asarray(value).tolist() for name, value in test.items()},
    }


def _note(record: dict[str, Any]) -> str:
    parts = []
    for part in ("train", "test"):
        for name, value in record[part].items():
            parts.append(f"{part} {name} {np.mean(value):.4g}")
    return ", ".join(parts)


def _result(state: TrainState, records: list[dict[str, Any]]) -> FitResult:
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
    return FitResult(state.params, state.model_state, state.opt_state, history)


def _non_finite(state: TrainState, epoch: int, records) -> NonFiniteLossError:
    steps, finite = np.atleast_1d(state.step), np.atleast_1d(state.finite)
    step = int(steps[~finite].min())
    where = f"step {step} (epoch {epoch + 1})"
    if np.ndim(state.finite):
        where += f" of replica {', '.join(map(str, np.flatnonzero(~finite)))}"
    message = (
        f"the loss or the update is not finite at {where}; the state before it is kept in the "
        "error's .result: try a smaller learning rate, and look for non-finite data"
    )
    return NonFiniteLossError(message, step, _result(state, records))
