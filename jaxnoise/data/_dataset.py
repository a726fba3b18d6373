"""What `load` returns: arrays in memory and a few words about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import PyTree

from .._tree import num_examples
from ._stream import Stream

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set.

    Attributes:
      name: the name it was asked for by.
      source: where the arrays come from: a package and its version, or the path of the files.
      description: one line on what the arrays hold.
      num_classes: number of classes of an integer label per example; None where there is none
        (regression, label maps).
      class_names: the classes' names in the order of the labels, where the source knows them.
    """

    name: str
    source: str
    description: str
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None


@partial(jax.tree_util.register_dataclass, data_fields=("train", "test"), meta_fields=("info",))
@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set: held in memory, a pytree whose leaves are NumPy arrays, or as streams.

    Attributes:
      train: the training examples, a batch: a dict of arrays that share a leading example axis,
        such as `{"image": (n, H, W, C) uint8, "label": (n,) int32}`, or a `Stream`; None if not
        asked for.
      test: the test examples likewise; None if not asked for or if the source has none.
      info: what is known about the set.
    """

    train: PyTree  # a Batch, a Stream, or None
    test: PyTree  # a Batch, a Stream, or None
    info: DatasetInfo

    def __repr__(self) -> str:
        parts = {"train": self.train, "test": self.test}
        shapes = [f"{part}: {_describe(batch)}" for part, batch in parts.items() if batch]
        return f"Dataset({self.info.name}, {', '.join(shapes)})"


def make_dataset(
    name: str,
    parts: Mapping[str, Batch],
    *,
    source: str,
    description: str,
    num_classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Checks the parts ("train", "test") that a source gave and brings them into one form.

    Integer labels become int32, (n, H, W) images get a channel axis, and the description of a set
    stored class by class says so. Raises ValueError where the arrays of a part are empty or
    disagree in their number of examples.
    """
    parts = {part: _standard_form(source, part, batch) for part, batch in parts.items()}
    labels = [batch["label"] for batch in parts.values() if "label" in batch]
    if labels and all(label.ndim == 1 and label.dtype == np.int32 for label in labels):
        num_classes = num_classes or _count_classes(np.concatenate(labels))
        if any(label[0] != label[-1] and np.all(label[1:] >= label[:-1]) for label in labels):
            description += "; sorted by class, as stored: shuffle before use"
    info = DatasetInfo(name, source, description, num_classes, class_names)
    return Dataset(parts.get("train"), parts.get("test"), info)


def _standard_form(source: str, part: str, batch: Batch) -> Batch:
    num_examples(batch, f"{source}: the {part} part")
    batch = dict(batch)
    image, label = batch.get("image"), batch.get("label")
    if image is not None and image.ndim == 3:
        batch["image"] = image[..., None]
    if label is not None and label.ndim == 1 and label.dtype.kind in "iu":
        batch["label"] = label.astype(np.int32)
    return batch


def _count_classes(label: np.ndarray) -> int:
    """Labels 0 … c − 1 have c classes; where some are negative (±1), the distinct ones count."""
    return len(np.unique(label)) if label.min() < 0 else int(label.max()) + 1


def _describe(batch: Batch | Stream) -> str:
    if isinstance(batch, Stream):
        return repr(batch)
    return " ".join(f"{key} {array.shape} {array.dtype}" for key, array in batch.items())
