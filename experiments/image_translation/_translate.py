"""pix2pix trained with one optimizer from all seeds at once, and the test images it makes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxnoise as jn
from jaxnoise._results import write_npz

from .._common import Curves, replica, say
from ._config import Plan, Task
from ._methods import METHODS, hyperparams, tradam
from ._problem import Problem, fed

PLAYERS = ("discriminator", "generator")
CURVES = ("generator l1", "generator adversarial", "discriminator loss")


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The networks of pix2pix as all seeds start.

    Attributes:
      params: player → initial parameters, (seeds, …).
      model_state: player → initial state of its normalisation layers, (seeds, …).
      apply: player → its outputs as a function of these.
    """

    params: dict[str, Any]
    model_state: dict[str, Any]
    apply: dict[str, Any]


def start_of(problem: Problem, task: Task, seeds: int) -> Start:
    """Initialises the networks from the seeds 0, 1, 2, …"""

    def start(seed):
        models = players_of(problem, task, *jax.random.split(jax.random.key(seed)))
        splits = {name: jn.models.split_apply(model) for name, model in models.items()}
        return tuple({name: parts[i] for name, parts in splits.items()} for i in range(3))

    params, model_state, apply = jax.jit(jax.vmap(start))(jnp.arange(seeds))
    return Start(params, model_state, replica(apply, 0))


def players_of(problem: Problem, task: Task, *keys: jax.Array) -> dict[str, nnx.Module]:
    """The discriminator and the generator of pix2pix, each initialised from its key."""
    classes, channels = problem.num_classes, problem.channels
    judge, make = (nnx.Rngs(key) for key in keys)
    shared: dict[str, Any] = {"width": task.width, "norm": "batch"}
    return {
        "discriminator": jn.models.PatchDiscriminator(
            in_channels=classes + channels, layers=task.layers, **shared, rngs=judge
        ),
        "generator": jn.models.Pix2PixGenerator(
            in_channels=classes, out_channels=channels, levels=task.levels, **shared, rngs=make
        ),
    }


def translated(
    problem: Problem,
    plan: Plan,
    task: Task,
    start: Start,
    method: str,
    folder: Path,
    curves: Curves,
) -> dict[str, Any]:
    """Trains all seeds, writes the test images they make to `folder`.npz, returns the curves."""
    run = f"{task.data}, {METHODS[method]}"
    num_train = len(problem.train["label"])
    say(f"{run}: training on {num_train} pairs, {plan.seeds} seeds")
    stage = jn.schedules.NoiseStage(task.epochs, plan.learning_rate, batch_size=1)
    values = {
        name: jnp.full(plan.seeds, value)
        for name, value in hyperparams(method, plan, stage.steps_per_epoch(num_train)).items()
    }
    play = jn.training.conditional_gan(
        start.apply["generator"], start.apply["discriminator"], l1_weight=plan.l1_weight
    )
    diverged_at = None
    try:
        fitted = jn.training.fit(
            jax.vmap(jax.random.key)(jnp.arange(plan.seeds)),
            play,
            start.params,
            start.model_state,
            dict.fromkeys(PLAYERS, tradam),
            problem.train,
            stage,
            augment=problem.augment,
            hyperparams=dict.fromkeys(PLAYERS, values),
            replicas=plan.seeds,
            replica_mode="map",  # side by side, convolutions would be grouped
            stacked=True,
            checkpoint_dir=folder / "checkpoints",
            on_epoch=lambda epoch, params, state, record: curves.log(run, epoch, record),
        )
    except jn.training.NonFiniteLossError as error:
        fitted, diverged_at = error.result, error.step
        say(f"diverged at step {diverged_at}; going on with the state before")
    finals = [
        replica((fitted.params["generator"], fitted.model_state["generator"]), seed)
        for seed in range(plan.seeds)
    ]
    images = np.stack([generated(start.apply["generator"], problem, *final) for final in finals])
    write_npz(folder.with_name(f"{folder.name}.npz"), {"image": images})
    shutil.rmtree(folder, ignore_errors=True)
    history: Any = fitted.history
    return {
        "diverged_at": diverged_at,
        "steps": history.steps,
        "curves": {name: history.train[name] for name in CURVES if name in history.train},
        "seconds": float(history.seconds[-1]) if len(history.seconds) else 0.0,
        "num_params": {
            name: sum(x[0].size for x in jax.tree.leaves(start.params[name])) for name in PLAYERS
        },
    }


def generated(apply: Any, problem: Problem, params: Any, model_state: Any) -> np.ndarray:
    """A generator's test images (n, H, W, C) uint8, one by one in training mode.

    The dropout of an image is the same for all generators.
    """
    inputs = fed(problem.num_classes, problem.test)["input"]
    keys = jax.random.split(jax.random.key(0), len(inputs))
    return np.asarray(_images(apply, params, model_state, inputs, keys))


@jax.jit
def _images(apply, params, model_state, inputs, keys):
    def one(row):
        x, key = row
        image, _ = apply(params, model_state, x[None], key)
        return jnp.round(127.5 * (image[0] + 1)).astype(jnp.uint8)

    return jax.lax.map(one, (inputs, keys))
