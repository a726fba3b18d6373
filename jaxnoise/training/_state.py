"""What training carries from step to step, and what it gives in the end."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax

from .._results import Result


class TrainState(NamedTuple):
    """The carry of the compiled epoch; with replicas every leaf has a leading (n,)."""

    params: Any
    model_state: Any
    opt_state: Any
    step: jax.Array  # (), int32: good steps so far
    finite: jax.Array  # (), bool: whether all steps so far were good


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class History(Result):
    """What training recorded at the end of each of its E epochs.

    Attributes:
      steps: (E,) optimizer steps so far.
      gradient_queries: (E,) per-example gradients computed so far, by each replica.
      learning_rate: (E,) learning rate of the stage.
      batch_size: (E,) batch size of the stage.
      seconds: (E,) wall-clock time since the start, compilation included.
      train: name → (E,) mean metric over the epoch's training batches, as they were trained on.
      test: name → (E,) mean metric over the test data after the epoch; empty without test data.

    With n replicas the metrics are (n, E).
    """

    steps: Any
    gradient_queries: Any
    learning_rate: Any
    batch_size: Any
    seconds: Any
    train: dict[str, Any] | None
    test: dict[str, Any] | None

    @property
    def train_loss(self) -> Any:
        return (self.train or {}).get("loss")

    @property
    def train_accuracy(self) -> Any:
        return (self.train or {}).get("accuracy")

    @property
    def test_loss(self) -> Any:
        return (self.test or {}).get("loss")

    @property
    def test_accuracy(self) -> Any:
        return (self.test or {}).get("accuracy")


class Best(NamedTuple):
    """The epoch whose metric on the test data was the best; with replicas each has its own.

    Attributes:
      params: the parameters after it; with n replicas all leaves have a leading (n,).
      model_state: the model's state after it.
      epoch: (), its number, counted from 1; 0 where no epoch's metric was a number.
      value: (), the metric.
    """

    params: Any
    model_state: Any
    epoch: jax.Array
    value: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class FitResult:
    """What `fit` gives; with n replicas every leaf of the first three has a leading (n,).

    After a game, params and opt_state are dicts by player.

    Attributes:
      params: the trained parameters.
      model_state: the model's state after the last step.
      opt_state: the optimizer's state after the last step.
      history: what was recorded, epoch by epoch.
      replica_mode: how the replicas were run, "map" or "vmap"; None where there were none.
      best: the `Best` epoch's parameters, where `keep_best` asked for them.
    """

    params: Any
    model_state: Any
    opt_state: Any
    history: History
    replica_mode: Literal["map", "vmap"] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    best: Best | None = None


class NonFiniteLossError(ValueError):
    """Training met a loss, gradient or update that is not finite.

    Attributes:
      step: the number of good steps before it, that is, the bad step's number counted from 0.
      result: `FitResult` with the state after the last good step and the history until then.
    """

    def __init__(self, message: str, step: int, result: FitResult):
        super().__init__(message)
        self.step = step
        self.result = result
