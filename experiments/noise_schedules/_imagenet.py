"""ImageNet, which is read while training goes on, as networks see it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from .._common import Starts, starts_of
from ._config import Task

STORED, SEEN = 256, 224  # sides of the images as they are read, and as networks see them
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def is_imagenet(data: str) -> bool:
    return data == "imagenet"


def open_imagenet(data_dir: Path | None) -> jn.data.Dataset:
    """Training and validation images, whose shorter side is scaled to 256 and the middle kept."""
    train, test = (
        jn.data.stream("imagenet2012", split, data_dir, image_size=STORED)
        for split in ("train", "validation")
    )
    return dataclasses.replace(train, test=test.test)


def some(stream: jn.data.Stream, num: int | None) -> jn.data.Stream:
    """The stream, or where a number is given, at most so many of its examples at random."""
    return stream if num is None else jn.data.Stream(_numbers(stream, num, seed=0), stream.read)


def probe_of(stream: jn.data.Stream, num: int) -> Any:
    """At most so many examples in random order, on the device."""
    return jax.tree.map(jnp.asarray, stream.read(_numbers(stream, num, seed=1)))


def starts(task: Task, num_classes: int | None, probe: Any, seeds: int) -> Starts:
    """The network, with the stem for large images where it has one, from every seed."""
    options: dict[str, Any] = {"num_classes": num_classes}
    if task.network.startswith("ResNet"):
        options["stem"] = "imagenet"
    elif task.network in ("FeedForward", "SmallCNN"):
        options["image_size"] = SEEN
    return starts_of(task.network, probe, probe, seeds, middle, **options)


def middle(batch: Any) -> jax.Array:
    """The middle of the images, each channel with about mean 0 and deviation 1."""
    first = (batch["image"].shape[1] - SEEN) // 2
    cut = batch["image"][:, first : first + SEEN, first : first + SEEN]
    return (cut / 255.0 - jnp.array(_MEAN)) / jnp.array(_STD)


def cut_and_flip(key: jax.Array, batch: Any) -> Any:
    """A part of each image at random, mirrored or not."""
    window = functools.partial(jn.data.random_window, size=SEEN)
    return jn.data.compose(window, jn.data.random_flip)(key, batch)


def _numbers(stream: jn.data.Stream, num: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(len(stream))[:num]
