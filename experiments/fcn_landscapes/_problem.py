"""Images, what networks are to make of them, and the loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skimage.measure import block_reduce

import jaxnoise as jn

from ._config import Task

PARTS = ("train", "validation", "test")
_TEST_SHARE = 0.3  # of a set without labelled test images, its last ones
_VALIDATION_SHARE = 1 / 7  # of the training images, the last of them
_LEAST_SEEN = 0.5  # share of a patch that must lie inside the mask

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """One data set.

    Attributes:
      images: part → {"image" (n, H, W, C) uint8, "target" (n, H, W, K) uint8, what networks are to
        put out times 255, "mask" (n, H, W) uint8, zero where it doesn't count}.
      patches: part → such arrays of patches (n', S, S, …); those of training at most as many as
        the task says.
      description: of the set.
      mean, std: of the training patches' pixels inside the mask, by channel.
    """

    images: dict[str, Arrays]
    patches: dict[str, Arrays]
    description: str
    mean: np.ndarray
    std: np.ndarray

    @property
    def channels(self) -> tuple[int, int]:
        """(C, K)."""
        one = self.patches["train"]
        return one["image"].shape[-1], one["target"].shape[-1]

    @property
    def constant_loss(self) -> float:
        """Training loss of the best output that is the same for all pixels."""
        train = self.patches["train"]
        pixels = train["target"][train["mask"] > 0].astype(np.float32) / 255
        return float(pixels.var(0).mean())

    def probe(self, num: int) -> Arrays:
        """Training patches that landscapes are the mean loss over."""
        train = self.patches["train"]
        rows = np.linspace(0, len(train["image"]) - 1, num).round().astype(int)
        return {name: x[rows] for name, x in train.items()}


def squared_error(outputs: jax.Array, batch: Any) -> jax.Array:
    """(B,) mean squared error of the outputs' sigmoids over the pixels inside the mask."""
    errors = jnp.square(jax.nn.sigmoid(outputs) - batch["target"].astype(jnp.float32) / 255).mean(
        -1
    )
    counts = batch["mask"].astype(jnp.float32)
    return jnp.sum(counts * errors, (1, 2)) / jnp.sum(counts, (1, 2))


def standardized(mean: np.ndarray, std: np.ndarray, batch: Any) -> jax.Array:
    """What networks see of a batch: its images at mean 0 and deviation 1 by channel."""
    return (batch["image"].astype(jnp.float32) - mean) / std


def problem_of(task: Task, data_dir: Path | None) -> Problem:
    """Draws or loads the images of a task and cuts them up."""
    if task.data in ("membranes", "vessels", "raindrops"):
        images, description = _drawn(task), f"drawn {task.data}"
    else:
        images, description = _loaded(task, data_dir)
    patches = {part: _patches(arrays, task) for part, arrays in images.items()}
    n = len(patches["train"]["image"])
    rows = np.sort(np.random.default_rng(0).permutation(n)[: task.examples])
    patches["train"] = {name: x[rows] for name, x in patches["train"].items()}
    pixels = patches["train"]["image"][patches["train"]["mask"] > 0].astype(np.float32)
    return Problem(images, patches, description, pixels.mean(0), pixels.std(0))


def _drawn(task: Task) -> dict[str, Arrays]:
    """Images for all parts, drawn at once so that the generator is compiled once."""
    key, num_test = jax.random.key(0), task.images[-1]
    num, size = sum(task.images), task.image_size
    if task.data == "membranes":
        drawn: Any = jn.data.membranes(key, num, size)
    elif task.data == "vessels":
        drawn = jn.data.vessels(key, num, size)
    else:
        photographs = [
            jn.data.sample_photographs(jax.random.fold_in(key, k), many, size, test=test)
            for k, (many, test) in enumerate(((num - num_test, False), (num_test, True)))
        ]
        drawn = jn.data.raindrops(key, jnp.asarray(np.concatenate(photographs)))
    target = drawn["target"] if task.kind == "raindrops" else drawn["label"]
    arrays = _as_bytes(drawn["image"], target, drawn.get("mask"))
    ends = np.cumsum(task.images)
    rows = [slice(end - many, end) for end, many in zip(ends, task.images, strict=True)]
    return {
        part: {name: x[one] for name, x in arrays.items()}
        for part, one in zip(PARTS, rows, strict=True)
    }


def _loaded(task: Task, data_dir: Path | None) -> tuple[dict[str, Arrays], str]:
    """The images of a set; cells are ones in its label maps, or vessels are."""
    dataset = jn.data.load(task.data, data_dir=data_dir)
    train, test = _named(task, dataset.train), _named(task, dataset.test)
    if train is None:
        raise ValueError(f"--data {task.data}: the set lacks uint8 images with label maps")
    if test is None:
        train, test = _split(train, _TEST_SHARE)
    train, validation = _split(train, _VALIDATION_SHARE)
    parts = zip(PARTS, (train, validation, test), strict=True)
    return {part: _smaller(arrays, task.shrink) for part, arrays in parts}, dataset.info.description


def _named(task: Task, part: Any) -> dict[str, np.ndarray] | None:
    """Images, label maps and mask of a part under names of our own; None where it lacks one."""
    part = part or {}
    label = next((part[name] for name in ("label", "manual1") if name in part), None)
    if label is None or "image" not in part:
        return None
    image, label = np.asarray(part["image"]), np.asarray(label)
    mask = np.asarray(part.get("mask", np.ones(label.shape)))
    shaped = image if image.ndim == 4 else image[..., None]
    return {"image": shaped, "target": label > 0, "mask": mask > 0}


def _split(arrays: Arrays, share: float) -> tuple[Arrays, Arrays]:
    """The arrays without, and only, the last of their rows."""
    num = len(arrays["image"])
    kept = num - max(1, round(share * num))
    return {k: x[:kept] for k, x in arrays.items()}, {k: x[kept:] for k, x in arrays.items()}


def _smaller(arrays: Arrays, shrink: int) -> Arrays:
    """Means over blocks of pixels; what the labels and the mask say of more than half of them."""
    block: Any = (1, shrink, shrink, 1)
    small = {name: block_reduce(x, block[: x.ndim], np.mean) for name, x in arrays.items()}
    return _as_bytes(small["image"].round(), small["target"] > 0.5, small["mask"] > 0.5)


def _as_bytes(image: Any, target: Any, mask: Any) -> Arrays:
    """The arrays as bytes, label maps in black and white, a mask where there is none."""
    image, target = np.asarray(image), np.asarray(target)
    if target.ndim == 3:
        target = 255 * (target > 0)[..., None]
    mask = np.ones(image.shape[:3]) if mask is None else np.asarray(mask) > 0
    arrays = {"image": image, "target": target, "mask": mask}
    return {name: x.astype(np.uint8) for name, x in arrays.items()}


def _patches(arrays: Arrays, task: Task) -> Arrays:
    if min(arrays["image"].shape[1:3]) < task.size:
        raise ValueError(f"--data {task.data}: images are smaller than patches of {task.size}")
    cut = jn.data.patches(arrays, task.size, task.overlap)
    seen = cut["mask"].mean((1, 2)) >= _LEAST_SEEN
    if not seen.any():
        raise ValueError(
            f"--data {task.data}: the masks leave too little of patches of {task.size} pixels"
        )
    return {name: x[seen] for name, x in cut.items()}
