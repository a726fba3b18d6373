"""Pairs of label map and image, and the batches that networks see of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from ._config import Task

# Names of images, label maps and masks in data sets, by preference.
_IMAGES = ("image", "image_left")
_LABELS = ("label", "manual1", "segmentation_label")
_VOID = {"cityscapes": (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)}
_TEST_SHARE = 0.3  # of a set without labelled test images, its last ones
_LEAST_SEEN = 0.5  # share of a patch that must lie inside the mask
_HOUSES = 300  # where their number is not said
_TRIES = 100  # to find such a patch

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Pairs of one data set.

    Attributes:
      train: {"label": (n, L, L) uint8, "image": (n, L, L, C) uint8, "mask": (n, L, L) uint8}; the
        mask is zero where there is no label.
      test: likewise, (n', L', L', …).
      num_classes: classes of the labels.
      description: of the set.
      augment: (key, batch) → batch with "input" and "target" too, cropped and mirrored at random.
    """

    train: Arrays
    test: Arrays
    num_classes: int
    description: str
    augment: Callable

    @property
    def channels(self) -> int:
        return self.train["image"].shape[-1]


def problem_of(task: Task, data_dir: Path | None) -> Problem:
    """Draws or loads the pairs of a task."""
    if task.data == "facades":
        train, test = _drawn(task)
        classes, description = len(jn.data.FACADE_CLASSES), "drawn facades"
    else:
        train, test, description = _loaded(task.data, data_dir)
        classes = _count_up(task.data, train, test)
    train = _prepared(train, task, task.size + task.margin, task.examples, seed=0)
    test = _prepared(test, task, task.size, task.test_examples, seed=1)
    augment = functools.partial(jittered, task.size, classes)
    return Problem(train, test, classes, description, augment)


def jittered(size: int, num_classes: int, key: jax.Array, batch: Any) -> Any:
    """A random window of the batch, mirrored at random, with what the networks are fed."""
    crop_key, flip_key = jax.random.split(key)
    side = batch["label"].shape[1]
    corner = jax.random.randint(crop_key, (2,), 0, side - size + 1)
    cut = functools.partial(_cut, corner, size)
    batch = jn.data.random_flip(flip_key, jax.tree.map(cut, batch))
    return {**batch, **fed(num_classes, batch)}


def _cut(corner: jax.Array, size: int, x: jax.Array) -> jax.Array:
    start = (0, *corner, *[0] * (x.ndim - 3))
    return jax.lax.dynamic_slice(x, start, (x.shape[0], size, size, *x.shape[3:]))


def fed(num_classes: int, batch: Any) -> dict[str, jax.Array]:
    """What networks see: a channel for each class, all zero outside the mask; images in [−1, 1]."""
    seen = jnp.asarray(batch["mask"], jnp.float32)[..., None]
    return {
        "input": jax.nn.one_hot(batch["label"], num_classes) * seen,
        "target": jnp.asarray(batch["image"], jnp.float32) / 127.5 - 1,
    }


def _drawn(task: Task) -> tuple[Arrays, Arrays]:
    num_train, num_test = task.examples or _HOUSES, task.test_examples or _HOUSES
    houses = jn.data.facades(jax.random.key(0), num_train + num_test, task.size + task.margin)
    arrays = {name: np.asarray(x) for name, x in houses.items()}
    arrays["mask"] = np.ones(arrays["label"].shape, bool)
    train, test = (
        {name: x[rows] for name, x in arrays.items()}
        for rows in (np.s_[:num_train], np.s_[num_train:])
    )
    return train, test


def _loaded(name: str, data_dir: Path | None) -> tuple[Arrays, Arrays, str]:
    """Training and test pairs at their full size, and what they are."""
    dataset = jn.data.load(name, data_dir=data_dir)
    train, test = _named(name, dataset.train), _named(name, dataset.test)
    if train is None:
        raise ValueError(
            f"--data {name}: needs uint8 images (H, W, C) of one size with label maps (H, W)"
        )
    if name.startswith("cityscapes"):  # the labels of its test part are kept back
        test = _named(name, jn.data.load(name, "validation", data_dir=data_dir).test)
    if test is None:
        num_train = len(train["label"]) - max(1, round(_TEST_SHARE * len(train["label"])))
        test = {key: x[num_train:] for key, x in train.items()}
        train = {key: x[:num_train] for key, x in train.items()}
    return train, test, dataset.info.description


def _count_up(name: str, *parts: Arrays) -> int:
    """Renames the labels 0, 1, 2, … in the order of their values; returns how many there are."""
    values = np.unique(np.concatenate([np.unique(part["label"]) for part in parts]))
    if len(values) > 256:
        raise ValueError(f"--data {name}: {len(values)} values of the labels are no classes")
    for part in parts:
        part["label"] = np.searchsorted(values, part["label"])
    return len(values)


def _named(name: str, part: Any) -> Arrays | None:
    """Images, label maps and mask of a part under names of our own; None where it lacks one."""
    keys = [
        next((key for key in names if key in (part or {})), None) for names in (_IMAGES, _LABELS)
    ]
    if None in keys:
        return None
    image, label = (np.asarray(part[key]) for key in keys)
    if label.ndim == 4 and label.shape[-1] == 1:
        label = label[..., 0]
    if image.ndim != 4 or image.dtype != np.uint8 or label.shape != image.shape[:-1]:
        return None
    void = _VOID.get(name.partition("/")[0], ())
    mask = np.asarray(part.get("mask", np.ones(label.shape))) > 0
    return {"image": image, "label": label, "mask": mask & ~np.isin(label, void)}


def _prepared(part: Arrays, task: Task, size: int, most: int | None, seed: int) -> Arrays:
    """Smaller images, or patches of them drawn at random, at most so many."""
    rng = np.random.default_rng(seed)
    if not task.patches:
        rows = rng.permutation(len(part["label"]))[:most]
        whole = {name: _resized(x[rows], size, name == "image") for name, x in part.items()}
        return _as_bytes(whole["label"], whole["image"], whole["mask"])
    small = {
        "image": _blocks(part["image"], task.shrink).mean((2, 4)).round(),
        "label": _most_frequent(part["label"], task.shrink),
        "mask": _blocks(part["mask"], task.shrink).mean((2, 4)) > 0.5,
    }
    num, (height, width) = len(small["label"]), small["label"].shape[1:]
    if min(height, width) < size:
        raise ValueError(f"--data {task.data}: images are smaller than patches of {size} pixels")
    patches: dict[str, list[np.ndarray]] = {name: [] for name in small}
    wanted = most or num
    for _ in range(_TRIES * wanted):
        i = len(patches["label"]) % num  # every image as often as any other
        y, x = rng.integers(height - size + 1), rng.integers(width - size + 1)
        window = np.s_[i, y : y + size, x : x + size]
        if small["mask"][window].mean() >= _LEAST_SEEN:
            for name, stack in small.items():
                patches[name].append(stack[window])
        if len(patches["label"]) == wanted:
            break
    else:
        raise ValueError(
            f"--data {task.data}: the masks leave too little of patches of {size} pixels"
        )
    stacks = {name: np.stack(x) for name, x in patches.items()}
    return _as_bytes(stacks["label"], stacks["image"], stacks["mask"])


def _blocks(x: np.ndarray, side: int) -> np.ndarray:
    """(n, H, W, …) as (n, H/side, side, W/side, side, …); an incomplete block is dropped."""
    n, height, width = len(x), x.shape[1] // side, x.shape[2] // side
    x = x[:, : height * side, : width * side]
    return x.reshape(n, height, side, width, side, *x.shape[3:])


def _most_frequent(label: np.ndarray, side: int) -> np.ndarray:
    """The class that most pixels of each block have, among equals the highest."""
    classes = np.arange(label.max() + 1)[::-1]
    counts = np.stack([_blocks(label == c, side).sum((2, 4)) for c in classes])
    return classes[counts.argmax(0)]


def _resized(x: np.ndarray, size: int, smooth: bool) -> np.ndarray:
    """(n, H, W, …) as (n, size, size, …), one by one: images smoothly, labels by nearest pixel."""
    if x.shape[1:3] == (size, size):
        return x
    method = "linear" if smooth else "nearest"
    resize = jax.jit(lambda one: jax.image.resize(one, (size, size, *one.shape[2:]), method))
    return np.stack([np.asarray(resize(np.asarray(one, np.float32)).round()) for one in x])


def _as_bytes(label: np.ndarray, image: np.ndarray, mask: np.ndarray) -> Arrays:
    arrays = {"label": label, "image": image, "mask": mask}
    return {name: x.astype(np.uint8) for name, x in arrays.items()}
