"""FCN-scores: networks that read label maps off images, and how well they read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.tree_util import Partial

import jaxnoise as jn

from .._common import Curves, say
from ._config import Task
from ._problem import Problem, fed

SCORERS = ("FCN-8s", "U-Net")
METRICS = ("per_pixel", "per_class", "class_iou")
_BATCH, _RATE = 8, 1e-3
_AT_ONCE = 16


def scorer_of(problem: Problem, task: Task, name: str, folder: Path, curves: Curves) -> Partial:
    """Trains a scorer on the real pairs of the training part.

    Returns:
      images (B, H, W, C) uint8 → scores (B, H, W, K), in inference mode.
    """
    say(f"{task.data}: training the scorer {name}")
    model = network_of(problem, task, name)
    params, model_state, train_loss = jn.models.split_train(model, pixel_cross_entropy, "target")
    fitted = jn.training.fit(
        jax.random.key(0),
        train_loss,
        params,
        model_state,
        optax.adam,
        problem.train,
        jn.schedules.NoiseStage(
            task.scorer_epochs, _RATE, min(_BATCH, len(problem.train["label"]))
        ),
        augment=problem.augment,
        checkpoint_dir=folder / name,
        on_epoch=lambda epoch, params, state, record: curves.log(
            f"{task.data}, scorer {name}", epoch, record
        ),
    )
    return Partial(_read, train_loss.apply, fitted.params, fitted.model_state)


def network_of(problem: Problem, task: Task, name: str) -> nnx.Module:
    """The untrained network of a scorer."""
    options: dict[str, Any] = {
        "in_channels": problem.channels,
        "out_channels": problem.num_classes,
        "norm": "batch",
        "rngs": nnx.Rngs(0),
    }
    if name == "FCN-8s":
        return jn.models.FCN(skips=8, width=task.scorer_width, **options)
    return jn.models.UNet(width=2 * task.scorer_width, **options)


def pixel_cross_entropy(outputs: jax.Array, batch: Any) -> jax.Array:
    """Mean cross-entropy of each image's pixels inside the mask, (B,)."""
    losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch["label"].astype(int))
    seen = batch["mask"].astype(losses.dtype)
    return jnp.sum(losses * seen, (1, 2)) / jnp.maximum(jnp.sum(seen, (1, 2)), 1)


def scores(scorer: Partial, problem: Problem, images: np.ndarray) -> dict[str, float]:
    """How well the scorer reads the labels of the test part off these images."""
    test = problem.test
    classes = jnp.concatenate(
        [_classes(scorer, images[i : i + _AT_ONCE]) for i in range(0, len(images), _AT_ONCE)]
    )
    found = jn.metrics.segmentation_scores(
        classes, test["label"].astype(np.int32), problem.num_classes, test["mask"]
    )
    return {name: float(getattr(found, name)) for name in METRICS}


def distance(problem: Problem, images: np.ndarray) -> float:
    """Mean absolute difference to the real test images, which range from −1 to 1."""
    real = fed(problem.num_classes, problem.test)["target"]
    return float(jn.losses.l1(jnp.asarray(images) / 127.5 - 1, real).mean())


def _read(apply, params, model_state, images):
    outputs, _ = apply(params, model_state, images.astype(jnp.float32) / 127.5 - 1, None)
    return outputs


@jax.jit
def _classes(scorer, images):
    return jnp.argmax(scorer(images), axis=-1)
