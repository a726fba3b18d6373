"""Training by stages, whole epochs compiled."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding

from .._checks import check_count, check_function, shown
from .._progress import Progress
from .._sharding import on_host
from .._tree import as_partial
from ..data import Stream
from ..schedules import NoiseStage
from ._best import better, check_metric, none_yet
from ._checkpoint import Checkpoints, settings_of
from ._devices import context, placed, spread_of
from ._hyperparams import hyperparams_of
from ._players import by_player, loss_of, method_of, players_of
from ._record import non_finite, note_of, record_of, result_of
from ._replicas import description_of, faster_mode, is_worth_timing
from ._source import batch_like, length_of, on_device, programs_for
from ._start import check_loss, fold_in_epoch, own, start
from ._state import FitResult

Optimizer = optax.GradientTransformation | Callable[..., Any]


def fit(
    key: jax.Array,
    train_loss: Callable | Mapping[str, Callable],
    params: Any,
    model_state: Any,
    optimizer: Optimizer | Mapping[str, Optimizer],
    data: Any,
    stages: NoiseStage | Sequence[NoiseStage],
    *,
    test_data: Any = None,
    evaluate: Callable | None = None,
    augment: Callable | None = None,
    hyperparams: Mapping[str, Any] | None = None,
    opt_state: Any = None,
    replicas: int | None = None,
    replica_mode: Literal["auto", "map", "vmap"] = "auto",
    stacked: bool = False,
    sharding: NamedSharding | None = None,
    keep_best: str | None = None,
    checkpoint_dir: str | os.PathLike | None = None,
    on_epoch: Callable[[int, Any, Any, dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> FitResult:
    """Trains by stages of constant learning rate and batch size, each epoch one compiled program.

    The data stays on the device; permutation, gathering and augmentation happen inside the program.
    Data that don't fit there are read in the course of an epoch, whose blocks are one program.
    Optimizer and model state go on unchanged from stage to stage, and there is one compilation per
    batch size. The last batch of an epoch is filled up from the start of its permutation, so an
    epoch has ⌈n/b⌉ steps of b examples each. A batch's loss is the mean over its examples.

    A game, such as adversarial training, is a dict of losses by player, in their order of play,
    with dicts of the same names for `params` and `optimizer`. In each step every player in turn
    takes one step of its optimizer, down the gradient of its own loss with respect to its own
    parameters. Its loss is given the whole dict of parameters, in which those before it have moved
    already, and the model state that they left. Batch and key are the same for all, so that what
    their losses share, such as generated images, is the same, too.

    Args:
      key: typed key, of order, augmentation and the model's randomness; with replicas also one for
        each of them, (n,).
      train_loss: (params, model_state, batch, key) → (losses (B,) or a dict of such metrics with
        "loss", model_state), as `jn.models.split_train` gives; its metrics are recorded. In a game
        a dict of such functions, whose metrics are recorded as "<player> <metric>".
      params: pytree of floating arrays; they are copied, not consumed. In a game a dict of them.
      model_state: pytree of arrays, or () where there is none.
      optimizer: a transformation, or a function of the learning-rate schedule that makes one, such
        as `lambda lr: jn.transforms.trsgd(lr)`. The same function object with the same stages
        compiles nothing anew, so what the function refers to must stay as it is. In a game a dict
        of them, and the result's `opt_state` is one.
      data: batch of all n training examples; uint8 images take the least memory. Or a
        `jn.data.Stream`, of which the host reads and transfers a block of steps while the device
        works on the block before; the steps are those that the same examples in memory would make.
        Each replica has an order, and hence a reading, of its own.
      stages: a `NoiseStage` or several. A ready transformation ignores their learning rates.
      test_data: batch of examples, or stream of them, to evaluate on after every epoch.
      evaluate: (params, model_state, batch) → losses (B,) or a dict of metrics, in inference mode;
        not needed where `train_loss` comes from `split_train`.
      augment: (key, batch) → batch, applied to every training batch.
      hyperparams: name → value, passed by name to `optimizer`, then a function of the schedule and
        of them; with replicas (n, …), a number or an array for each, so that weights, periods and
        learning rates, or whole tables of them, train side by side. The values are arguments of the
        compiled program: others compile nothing anew. In a game a dict of such dicts by player,
        where a player may be left out.
      opt_state: the optimizer's state to go on from, as in the result of a previous call; None
        makes a new one. Momentum and step counts go on, whatever the batch size and learning rate.
        A function as optimizer, whose schedule is that of these stages, then takes one stage only.
        The order of the examples repeats unless the key is another.
      replicas: number n of runs to train at once, which differ in their keys, `key` where it is
        (n,) of them, else `jax.random.split(key, n)`; all leaves of the result then have a leading
        (n,). Random keys in the optimizer's state become one for each replica, too.
      replica_mode: "map" trains replicas one after another in one program, bit for bit as separate
        runs; "vmap" side by side, equal up to rounding. "auto" times both over the first 8 steps
        and takes the faster where the replicas make at least 100,000 steps together, on data in
        memory, in one process; else "map" on CPU and wherever the loss contains convolutions,
        "vmap" elsewhere. What it took is in the result's `replica_mode`; a run that is resumed goes
        on in the mode of its checkpoint.
      stacked: whether `params`, `model_state` and `opt_state` already have the replicas' leading
        axis; otherwise all replicas start from the same ones.
      sharding: spreads training over devices, as
        `NamedSharding(jax.make_mesh((8,), ("batch",)), PartitionSpec("batch"))` does. The examples
        of each batch, training or test, are spread along the mesh axis that it names first; data,
        parameters and states are on every device, and a stream's batches are put where they are
        worked on. The loss stays a function of the whole batch, batch normalisation included, so
        that the results are those of one device up to rounding; each batch_size must be a multiple
        of the number of parts. With replicas it is these that are spread, states and results with
        them, and their number must be a multiple; each is trained as one device would train it.
        With `jax.distributed`, every process calls `fit` with the same arguments, on a mesh of all
        devices; it calls `on_epoch` in each, shows progress in the first, and reads of a stream
        what its own devices hold. None trains on the default device.
      keep_best: name of a metric of the test data, "loss" or "accuracy", say. The result's `best`
        then holds the parameters after the epoch at which it was least, where its name ends in
        "loss", or else greatest; of equals the first. Each replica has its own.
      checkpoint_dir: folder of checkpoints, one written after each epoch; where it holds some of
        the same run, on however many devices, training goes on from the newest. One run at a time
        has it; its processes share it.
      on_epoch: called as on_epoch(epoch, params, model_state, record) on the host after every
        epoch, before its checkpoint is written; epochs count from 1. The values are copies that may
        be kept; with replicas they have the leading (n,). The record is a dict of "steps",
        "learning_rate", "batch_size" and "seconds" as in `History`, and "train" and "test", name →
        mean metric, with replicas a list of n. Epochs that a checkpoint holds already are not
        trained again, and not seen.
      progress: whether to show progress on standard error.

    Returns:
      A `FitResult`.

    Raises:
      NonFiniteLossError: (a ValueError) if a loss or an update is not finite; it names the step and
        keeps the state after the last good one.
      ValueError: if an argument is wrong; the message names it. Or if processes were given
        different ones.
      OSError: if another run has checkpoint_dir, or it can't be written to.

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

      A game: one player chases the other, who runs away.

      >>> def chase(params, model_state, batch, key):
      ...     return batch["x"] * (params["cat"] - params["mouse"]) ** 2, model_state
      >>> def flight(params, model_state, batch, key):
      ...     return -batch["x"] * (params["cat"] - params["mouse"]) ** 2, model_state
      >>> game = jn.training.fit(
      ...     jax.random.key(0), {"cat": chase, "mouse": flight},
      ...     {"cat": jnp.array(0.0), "mouse": jnp.array(1.0)}, (),
      ...     {"cat": optax.sgd(0.2), "mouse": optax.sgd(0.1)}, {"x": jnp.ones(16)},
      ...     jn.schedules.NoiseStage(epochs=5, learning_rate=0.1, batch_size=4), progress=False)
      >>> bool(game.params["cat"] < game.params["mouse"]), sorted(game.history.train)
      (True, ['cat loss', 'mouse loss'])
    """
    stages = _stages_of(stages)
    n = length_of(data)
    players = players_of(train_loss, params, optimizer, stages, n)
    for stage in stages:
        if stage.batch_size > n:
            raise ValueError(f"batch_size {stage.batch_size} exceeds the {n} examples of data")
    if opt_state is not None and len(stages) > 1 and any(player.schedule for player in players):
        raise ValueError(
            "opt_state has counted steps, past the schedule of several stages: give one stage at a "
            "time, or a ready transformation as optimizer"
        )
    if replicas is None and (stacked or replica_mode != "auto"):
        raise ValueError("stacked and replica_mode speak of replicas: give their number")
    if replicas is not None:
        check_count(replicas, "replicas")
    spread = spread_of(sharding, stages, replicas)
    if on_epoch is not None:
        check_function(on_epoch, "on_epoch")
    if replica_mode not in ("auto", "map", "vmap"):
        raise ValueError(f"replica_mode must be 'auto', 'map' or 'vmap', got {replica_mode!r}")
    loss = by_player(players, lambda player: loss_of(player.own(train_loss)))
    augment = None if augment is None else as_partial(augment)
    evaluate = evaluate or method_of(train_loss, "evaluate")
    evaluate = None if evaluate is None else as_partial(evaluate)
    if test_data is not None and evaluate is None:
        raise ValueError("test_data needs evaluate, (params, model_state, batch) → losses")
    if test_data is not None:
        length_of(test_data, "test_data")

    with contextlib.ExitStack() as opened:
        opened.enter_context(context(spread))
        data, test_data = on_device(data, spread), on_device(test_data, spread, "test_data")
        values = placed(hyperparams_of(players, hyperparams, replicas), spread)
        loss, augment, evaluate = placed((loss, augment, evaluate), spread)
        key, params, model_state, opt_state = placed((key, params, model_state, opt_state), spread)
        state, keys = start(key, players, params, model_state, opt_state, values, replicas, stacked)
        batch = batch_like(data, stages[0].batch_size)
        mode = check_loss(players, loss, augment, state, keys, batch, replicas)
        run_epoch, _ = programs_for(data)
        _, run_evaluation = programs_for(test_data)
        epoch_program = functools.partial(
            run_epoch, loss, augment, players=players, sharding=spread
        )
        plan = [stage for stage in stages for _ in range(stage.epochs)]
        checkpoints, records = None, []
        if checkpoint_dir is not None:
            checkpoints = opened.enter_context(contextlib.closing(Checkpoints(checkpoint_dir)))
        kept = None if checkpoints is None else checkpoints.kept("replica_mode")
        best: Any = None
        if keep_best is not None:
            check_metric(keep_best, evaluate, state, test_data, replicas)
            best = none_yet(state, keep_best)
        state, best, keys, values = placed((state, best, keys, values), spread, replicas)
        if replicas is not None and replica_mode != "auto":
            mode = replica_mode
        elif replicas is not None and kept is not None:
            mode = kept
        elif not isinstance(data, Stream) and is_worth_timing(plan, n, replicas or 1):
            mode = faster_mode(epoch_program, state, data, keys, values, plan[0].batch_size)
        if checkpoints is not None:
            settings = settings_of(key, players, values, mode, n, stages, keep_best)
            (state, best), records = checkpoints.newest((state, best), settings)
        started = time.perf_counter() - (records[-1]["seconds"] if records else 0.0)
        shown_here = progress and not jax.process_index()
        with Progress(len(plan), description_of(mode, replicas), "epochs", shown_here) as bar:
            bar.update(len(records))
            for epoch, stage in list(enumerate(plan))[len(records) :]:
                epoch_keys = fold_in_epoch(keys, epoch)
                state, train = epoch_program(
                    state, data, epoch_keys, values, batch_size=stage.batch_size, mode=mode
                )
                if not np.all(on_host(state.finite)):
                    raise non_finite(state, best, records, mode)
                test = {}
                if test_data is not None:
                    options = {"mode": mode, "sharding": spread}
                    test = run_evaluation(evaluate, state, test_data, **options)
                if keep_best is not None:
                    best = better(best, state, keep_best, test[keep_best], epoch + 1)
                records.append(record_of(state, stage, train, test, started))
                if on_epoch is not None:
                    reached, left = own((state.params, state.model_state))
                    on_epoch(epoch + 1, reached, left, copy.deepcopy(records[-1]))
                if checkpoints is not None:
                    checkpoints.save(epoch + 1, (state, best), records)
                bar.update(note=note_of(records[-1]))
    return result_of(state, best, records, mode)


def _stages_of(stages: Any) -> list[NoiseStage]:
    found = [stages] if isinstance(stages, NoiseStage) else stages
    if not isinstance(found, Iterable):
        raise TypeError(f"stages must be a NoiseStage or several of them, got {shown(stages)}")
    return list(found)
