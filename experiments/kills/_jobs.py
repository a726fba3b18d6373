"""Jobs of a few seconds that go on where they were stopped, given the same folder."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from orbax.checkpoint import v1 as v1  # fit would import it in every process, for a second
from tqdm import tqdm

import jaxnoise as jn
from jaxnoise._results import write_npz

from .._common import begin, open_curves, remembered, write_json
from ._compare import arrays_of

_SIZE, _EXAMPLES = 16, 512
_STAGES = (jn.schedules.NoiseStage(3, 0.05, 8), jn.schedules.NoiseStage(3, 0.05, 16))


def images(num: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Noise with a label that can be learned from it."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(num, _SIZE, _SIZE, 1)).astype(np.float32)
    return {"image": image, "label": (image.mean((1, 2, 3)) > 0).astype(np.int32)}


def train(data: Any, folder: Path, **options: Any) -> jn.training.FitResult:
    """Fits a dense network to mirrored images, by TRSGD, in two stages."""

    def optimizer(rate):
        drawn = jn.transforms.uniform_iterate(jax.random.key(1), period=10)
        return optax.chain(jn.transforms.trsgd(rate, momentum=0.9), drawn)

    model = jn.models.FeedForward(in_channels=1, image_size=_SIZE, num_classes=2, rngs=nnx.Rngs(0))
    params, model_state, loss = jn.models.split_train(model, jn.losses.cross_entropy)
    options = {"test_data": images(64, 1), "augment": jn.data.random_flip} | options
    start = (jax.random.key(0), loss, params, model_state, optimizer, data, _STAGES)
    return jn.training.fit(*start, checkpoint_dir=folder / "checkpoints", progress=False, **options)


def keep(folder: Path, result: jn.training.FitResult) -> None:
    state = (result.params, result.model_state, result.opt_state)
    write_npz(folder / "state.npz", arrays_of(state))
    result.history.save(folder / "history.npz")


def stages(folder: Path) -> None:
    keep(folder, train(images(_EXAMPLES), folder))


def replicas(folder: Path) -> None:
    keep(folder, train(images(_EXAMPLES // 2), folder, replicas=2))


def stream(folder: Path) -> None:
    data = images(_EXAMPLES)
    examples = jn.data.Stream(
        range(_EXAMPLES), lambda i: {name: values[i] for name, values in data.items()}
    )
    keep(folder, train(examples, folder))


def gan(folder: Path) -> None:
    """CycleGAN of networks that look at single pixels."""

    def network(params, count, x, key):
        hidden = jnp.tanh(x @ params["in"])
        return jnp.tanh(hidden @ params["out"]), count + 1

    rng = np.random.default_rng(0)
    players = {
        "discriminators": ("judge_images", "judge_labels"),
        "generators": ("to_images", "to_labels"),
    }
    params = {
        player: {
            name: {
                "in": jnp.asarray(rng.normal(size=(2, 64)), jnp.float32),
                "out": jnp.asarray(rng.normal(size=(64, 2)) / 8, jnp.float32),
            }
            for name in names
        }
        for player, names in players.items()
    }
    pool = jn.training.image_pool(jnp.zeros((_SIZE, _SIZE, 2)), 10)
    state = {name: jnp.array(0) for names in players.values() for name in names}
    pictures, labels = rng.uniform(-1, 1, (2, 128, _SIZE, _SIZE, 2)).astype(np.float32)
    result = jn.training.fit(
        jax.random.key(0),
        jn.training.cycle_gan(*[network] * 4),
        params,
        {**state, "pool": {"image": pool, "label": pool}},
        dict.fromkeys(players, optax.adam(1e-3)),
        {"image": pictures},
        jn.schedules.NoiseStage(6, 1e-3, 4),
        augment=jn.data.unpaired({"label": labels}),
        checkpoint_dir=folder / "checkpoints",
        progress=False,
    )
    keep(folder, result)


def grid(folder: Path) -> None:
    data = jax.tree.map(jnp.asarray, images(_EXAMPLES))
    model = jn.models.FeedForward(in_channels=1, image_size=_SIZE, num_classes=2, rngs=nnx.Rngs(0))
    params, loss = jn.models.split(model, jn.losses.cross_entropy)
    directions = jn.landscape.random_directions(jax.random.key(0), params)
    jn.landscape.loss_grid(loss, params, directions, data, resolution=20, path=folder / "grid.npz")


def noise_profile(folder: Path) -> None:
    """Profiles of the digits at points on the way to the origin, one in the place of the other."""
    data = jn.data.load("digits").train
    model = jn.models.FeedForward(in_channels=1, image_size=8, num_classes=10, rngs=nnx.Rngs(0))
    params, loss = jn.models.split(model, jn.losses.cross_entropy)
    for scale in np.linspace(1.0, 0.5, 20, dtype=np.float32):
        profile = jn.gradients.noise_profile(loss, optax.tree.scale(scale, params), data)
        profile.save(folder / "profile.npz")


def parts(folder: Path) -> None:
    """What experiments do with a folder: finished parts, a training with curves, results."""
    begin(folder / "parts", {"examples": _EXAMPLES}, resume=True)
    found = {}
    with open_curves(folder, resume=True) as curves:
        for seed in range(2):
            compute = functools.partial(_part, folder / "parts" / f"seed{seed}", seed, curves)
            found[seed] = remembered(folder / "parts" / f"seed{seed}.json", compute)
    write_json(folder / "results.json", {"parts": found})


def _part(folder: Path, seed: int, curves: Any) -> dict[str, Any]:
    result = train(
        images(_EXAMPLES // 4, seed),
        folder,
        on_epoch=lambda epoch, _, __, record: curves.log(f"seed{seed}", epoch, record),
    )
    keep(folder, result)
    return {"loss": result.history.train_loss, "accuracy": result.history.test_loss}


JOBS: dict[str, Callable[[Path], None]] = {
    "stages": stages,
    "replicas": replicas,
    "stream": stream,
    "gan": gan,
    "grid": grid,
    "noise_profile": noise_profile,
    "parts": parts,
}


def work(job: str, folder: Path, programs: Path) -> None:
    """Does the job in this process, with compiled programs kept for the next one."""
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    tqdm.set_lock(threading.RLock())  # its own is the system's, and outlives a killed process
    JOBS[job](folder)
