"""Segmenting networks trained on random blocks of volumes."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

import jaxnoise as jn

from .._common import Curves
from ._config import UnetPlan, VolumesPlan
from ._variants import VARIANTS, Variant
from ._weights import save_weights

Volumes = Sequence[np.ndarray]


def segmentation_loss(outputs: jax.Array, batch: Any) -> dict[str, jax.Array]:
    """Dice and cross-entropy, weighted as the batch says, so that one program serves all losses."""
    truth = batch["label"][..., None]
    dice, bce = jn.losses.dice(outputs, truth), jn.losses.binary_cross_entropy(outputs, truth)
    weights = batch["weights"]
    return {"loss": weights[:, 0] * dice + weights[:, 1] * bce, "dice": -dice, "bce": bce}


@functools.partial(jax.jit, static_argnames=("network", "width"))
def start(seed: Any, network: str, width: int) -> tuple[Any, Any, Any]:
    """Initial (params, model_state) of a network, and its loss in training mode."""
    model = getattr(jn.models, network)(width=width, rngs=nnx.Rngs(jax.random.key(seed)))
    return jn.models.split_train(model, segmentation_loss)


@functools.cache
def augmentation(block: int) -> Any:
    """Cuts a random cube of this side out of each volume, turns it and mirrors it."""
    return jn.data.compose(
        functools.partial(jn.data.random_window, size=block),
        jn.data.random_quarter_turns,
        functools.partial(jn.data.random_flip, axes=(-4, -3, -2)),
    )


def examples(
    images: Volumes, labels: Volumes, shape: tuple[int, ...], variant: Variant, num: int
) -> Any:
    """`num` examples: the volumes, again and again, at one shape.

    Args:
      images: (D, H, W) each, uint8.
      labels: likewise, nonzero in nuclei.
      shape: least sides (D, H, W); equal ones share a compiled program.
      variant: weights of the losses.
      num: number of examples.

    Returns:
      {"image": (num, D, H, W, 1) uint8, "label": (num, D, H, W) bool, "weights": (num, 2)}.
    """
    shape = tuple(np.max([image.shape for image in images] + [shape], axis=0).tolist())
    rows = np.resize(np.arange(len(images)), num)
    weights = np.array([variant.dice_weight, variant.bce_weight], np.float32)
    return {
        "image": np.stack([filled_up(image, shape) for image in images])[rows, ..., None],
        "label": np.stack([filled_up(label > 0, shape) for label in labels])[rows],
        "weights": np.tile(weights, (num, 1)),
    }


def train_unet(
    plan: UnetPlan,
    name: str,
    seed: int,
    images: Volumes,
    labels: Volumes,
    volumes: VolumesPlan,
    folder: Path,
    curves: Curves,
) -> dict[str, Any]:
    """Trains one variant from one seed and writes <folder>/seed<k>.npz.

    Each seed has volumes of its own, those of its GAN, so seeds are trained one after another; they
    share the compiled program.

    Args:
      plan: of the training.
      name: of the variant.
      seed: of the initial parameters, the order and the blocks.
      images: the variant's training volumes.
      labels: their nuclei.
      volumes: number and shape of the synthetic ones, whatever it is trained on.
      folder: of the variant.
      curves: where the losses go.

    Returns:
      What is recorded of the run, as JSON values.
    """
    variant = VARIANTS[name]
    shape = tuple(max(side, plan.block) for side in volumes.shape)
    params, model_state, train_loss = start(seed, variant.network, plan.width)
    fitted = jn.training.fit(
        jax.random.fold_in(jax.random.key(2), seed),
        train_loss,
        params,
        model_state,
        optax.adam,
        examples(images, labels, shape, variant, volumes.num),
        jn.schedules.NoiseStage(plan.epochs, plan.learning_rate, batch_size=1),
        augment=augmentation(plan.block),
        checkpoint_dir=folder / f"checkpoints{seed}",
        on_epoch=lambda epoch, params, state, record: curves.log(
            f"{name}, seed {seed}", epoch, record
        ),
    )
    save_weights(folder / f"seed{seed}.npz", {"params": fitted.params, "state": fitted.model_state})
    shutil.rmtree(folder / f"checkpoints{seed}", ignore_errors=True)
    history: Any = fitted.history
    return {
        "seconds": float(history.seconds[-1]),
        "steps": int(history.steps[-1]),
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "curves": history.train,
    }


def filled_up(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The volume mirrored at its ends, up to this shape."""
    margins = [(0, new - old) for new, old in zip(shape, volume.shape, strict=True)]
    return np.pad(volume, margins, mode="symmetric")
