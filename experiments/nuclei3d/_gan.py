"""SpCycleGAN and CycleGAN trained on drawn nuclei and the microscope's volumes, unpaired."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnoise as jn

from .._common import Curves, replica, save_picture
from ._config import GanPlan, Plan
from ._generate import generator, microscopy
from ._players import start_of
from ._unet import filled_up
from ._variants import GANS
from ._weights import save_weights

_SHOWN = 4  # slices in a picture

Volumes = Sequence[np.ndarray]


def train_gan(
    plan: Plan, method: str, labels: Volumes, images: Volumes, folder: Path, curves: Curves
) -> dict[str, Any]:
    """Trains all seeds and writes what `generate` needs, <folder>/seed<k>.npz, and pictures.

    An interrupted training goes on from the checkpoint in <folder>/checkpoints.

    Args:
      plan: of the run.
      method: "spcyclegan", or "cyclegan" without the spatial constraint.
      labels: drawn volumes (D, H, W), nonzero in nuclei.
      images: the microscope's volumes (D, H, W), uint8.
      folder: of the method.
      curves: where the losses go.

    Returns:
      What is recorded of the training, as JSON values: "seconds", "steps", "num_params" by player,
      and "curves", name → one list for each seed.
    """
    gan = plan.gan
    sets = {"image": examples(images, gan), "label": examples([x > 0 for x in labels], gan)}
    start = start_of(gan, method, plan.seeds)
    data = {"image": sets["image"]}
    stage = jn.schedules.NoiseStage(gan.epochs, gan.learning_rate, batch_size=1)
    steps = gan.epochs * stage.steps_per_epoch(len(data["image"]))
    optimizer = optax.adam(decaying(gan.learning_rate, steps), b1=0.5)
    fitted = jn.training.fit(
        jax.vmap(jax.random.key)(jnp.arange(plan.seeds)),
        jn.training.cycle_gan(**start.apply, identity_weight=gan.identity_weight),
        start.params,
        start.model_state,
        dict.fromkeys(start.params, optimizer),
        data,
        stage,
        augment=augmentation(sets["label"], gan),
        replicas=plan.seeds,
        replica_mode="map",  # side by side, convolutions would be grouped
        stacked=True,
        checkpoint_dir=folder / "checkpoints",
        on_epoch=lambda epoch, params, state, record: curves.log(GANS[method], epoch, record),
    )
    for seed in range(plan.seeds):
        own = replica((fitted.params["generators"], fitted.model_state), seed)
        params, state = (part["to_images"] for part in own)
        save_weights(folder / f"seed{seed}.npz", {"params": params, "state": state})
        made = microscopy(generator(start.apply["to_images"], params, state), labels[0], gan)
        save_picture(folder / f"samples_seed{seed}.png", samples(labels[0], made, images[0]))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    history: Any = fitted.history
    return {
        "seconds": float(history.seconds[-1]),
        "steps": int(history.steps[-1]),
        "num_params": {
            player: sum(leaf[0].size for leaf in jax.tree.leaves(params))
            for player, params in start.params.items()
        },
        "curves": history.train,
    }


def decaying(learning_rate: float, steps: int) -> optax.Schedule:
    """Constant for one half of the steps, then linearly to zero."""
    half = steps // 2
    return optax.linear_schedule(learning_rate, 0.0, steps - half, transition_begin=half)


def examples(volumes: Volumes, plan: GanPlan) -> np.ndarray:
    """All slices, or volumes, again and again, so that windows would cover them in a pass.

    Volumes of other sizes are filled up to the largest, and up to a window, by mirror images.

    Args:
      volumes: (D, H, W) each, uint8 or bool.
      plan: dimensions and side of a window.

    Returns:
      (n, H, W, 1) or (n, D, H, W, 1), uint8 from 0 to 255.
    """
    least = [1] * (3 - plan.ndim) + [plan.crop] * plan.ndim
    sides = np.max([*(volume.shape for volume in volumes), least], axis=0)
    shape = tuple(int(side) for side in sides)
    stack = np.stack([filled_up(volume, shape) for volume in volumes])
    stack = stack * np.uint8(255) if stack.dtype == bool else stack
    if plan.ndim == 2:
        stack = stack.reshape(-1, *shape[1:])
    times = np.prod([side // plan.crop for side in stack.shape[1:]])
    return np.repeat(stack, times, axis=0)[..., None]


def augmentation(labels: np.ndarray, plan: GanPlan) -> Any:
    """Adds labels to a batch of images, cuts windows, turns and mirrors them, each set by itself.

    Gray levels become numbers from −1 to 1.
    """
    return jn.data.compose(
        jn.data.unpaired({"label": labels}),
        jn.data.separately(functools.partial(jn.data.random_window, size=plan.crop)),
        jn.data.separately(jn.data.random_symmetry),
        _signed,
    )


def samples(label: np.ndarray, made: np.ndarray, real: np.ndarray) -> Figure:
    """Slices of drawn nuclei, what a generator made of them, and the microscope's, in rows."""
    figure = Figure(figsize=(2 * _SHOWN, 6), layout="constrained")
    rows = {"drawn": 255 * (label > 0), "synthetic": made, "microscope": real}
    for axes, (title, volume) in zip(figure.subplots(3, _SHOWN), rows.items(), strict=True):
        places = np.linspace(0, len(volume) - 1, _SHOWN + 2).astype(int)[1:-1]
        for ax, place in zip(axes, places, strict=True):
            ax.imshow(volume[place], cmap="gray", vmin=0, vmax=255)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(title)
    return figure


def _signed(key: jax.Array, batch: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32) / 127.5 - 1, batch)
