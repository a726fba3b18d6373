"""One network trained from all seeds at once, with snapshots along the way."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxnoise as jn
from jaxnoise._results import read_npz, write_npz

from .._common import Curves, say
from ._config import Plan, Task
from ._networks import NETWORKS
from ._problem import Problem, squared_error, standardized

LOSSES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """One of `NETWORKS` as all seeds start, and its functions.

    Attributes:
      params: initial parameters, (seeds, …).
      model_state: likewise; it holds nothing, for want of normalisation.
      train_loss, loss_fn: the losses in training and in inference mode.
      apply: (params, images) → outputs' sigmoids; images as they are stored.
    """

    params: Any
    model_state: Any
    train_loss: Any
    loss_fn: Any
    apply: Any

    @property
    def num_params(self) -> int:
        return sum(leaf[0].size for leaf in jax.tree.leaves(self.params))


@dataclasses.dataclass(frozen=True)
class Run:
    """One network trained at one batch size."""

    task: Task
    network: str
    batch_size: int

    @property
    def name(self) -> str:
        network = "".join(c if c.isalnum() else "_" for c in self.network)
        return f"{self.task.data}_{network}_batch_{self.batch_size}"


def network_of(problem: Problem, task: Task, name: str, seeds: int) -> Network:
    channels, outputs = problem.channels
    models = [
        NETWORKS[name](
            in_channels=channels, out_channels=outputs, width=task.width, rngs=nnx.Rngs(seed)
        )
        for seed in range(seeds)
    ]
    inputs = functools.partial(standardized, problem.mean, problem.std)
    splits = [jn.models.split_train(model, squared_error, inputs) for model in models]
    params, model_state = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((params, state) for params, state, _ in splits)
    )
    _, loss_fn = jn.models.split(models[0], squared_error, inputs)
    _, state, apply = jn.models.split_apply(models[0])
    return Network(
        params=params,
        model_state=model_state,
        train_loss=splits[0][2],
        loss_fn=loss_fn,
        apply=jax.tree_util.Partial(functools.partial(_outputs, inputs=inputs), apply, state),
    )


def _outputs(apply, state, params, images, *, inputs):
    return jax.nn.sigmoid(apply(params, state, inputs({"image": images}), None)[0])


class Snapshots:
    """The parameters of all seeds after some of the epochs, the last among them, as files."""

    def __init__(self, folder: Path, like: Any, epochs: int, most: int):
        self._folder, self._like = folder, like
        self.epochs = sorted({round(k * epochs / most) for k in range(most + 1)})

    def save(self, epoch: int, params: Any) -> None:
        if epoch in self.epochs:
            leaves = {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(params))}
            write_npz(self._path(epoch), leaves)

    def load(self, epoch: int, seed: int) -> Any:
        arrays = read_npz(self._path(epoch))
        leaves = [jnp.asarray(arrays[str(i)][seed]) for i in range(len(arrays))]
        return jax.tree.unflatten(jax.tree.structure(self._like), leaves)

    def __iter__(self):
        """The epochs that there are."""
        return (epoch for epoch in self.epochs if self._path(epoch).is_file())

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch_{epoch:05d}.npz"


def snapshots_of(plan: Plan, run: Run, network: Network, folder: Path) -> Snapshots:
    kept = min(plan.snapshots, run.task.epochs)
    return Snapshots(folder / run.name, network.params, run.task.epochs, kept)


def trained(
    problem: Problem, plan: Plan, run: Run, network: Network, folder: Path, curves: Curves
) -> dict[str, Any]:
    """Trains all seeds, keeps snapshots, and gives the losses over each part at these."""
    snapshots = snapshots_of(plan, run, network, folder)
    checkpoints = folder / f"{run.name}_checkpoints"
    say(f"{run.name}: {len(problem.patches['train']['image'])} patches, {plan.seeds} seeds")
    snapshots.save(0, network.params)

    def after_epoch(epoch: int, params: Any, model_state: Any, record: dict[str, Any]) -> None:
        curves.log(run.name, epoch, record)
        snapshots.save(epoch, params)

    diverged_at = None
    try:
        fitted = jn.training.fit(
            jax.vmap(jax.random.key)(jnp.arange(plan.seeds)),
            network.train_loss,
            network.params,
            network.model_state,
            lambda schedule: optax.sgd(schedule, plan.momentum),
            problem.patches["train"],
            jn.schedules.NoiseStage(run.task.epochs, plan.learning_rate, run.batch_size),
            augment=jn.data.random_symmetry,
            replicas=plan.seeds,
            replica_mode="map",
            stacked=True,
            checkpoint_dir=checkpoints,
            on_epoch=after_epoch,
        )
    except jn.training.NonFiniteLossError as error:
        fitted, diverged_at = error.result, error.step
        say(f"diverged at step {diverged_at}; going on with the epochs before")
    shutil.rmtree(checkpoints, ignore_errors=True)
    history: Any = fitted.history
    return {
        "diverged_at": diverged_at,
        "num_params": network.num_params,
        "seconds": float(history.seconds[-1]) if len(history.seconds) else 0.0,
        "steps": int(history.steps[-1]) if len(history.steps) else 0,
        "epochs": list(snapshots),
        "running_train_loss": history.train_loss,
        **_losses(problem, network, snapshots, plan.seeds),
    }


def _losses(problem: Problem, network: Network, snapshots: Snapshots, seeds: int) -> dict[str, Any]:
    """Part → (seeds, snapshots) mean losses over its patches."""
    return {
        part: [
            [
                mean_loss(network, snapshots.load(epoch, seed), problem.patches[part])
                for epoch in snapshots
            ]
            for seed in range(seeds)
        ]
        for part in ("train", "validation")
    }


def mean_loss(network: Network, params: Any, batch: Any) -> float:
    return float(jn.training.evaluate(network.loss_fn, params, batch)["loss"])
