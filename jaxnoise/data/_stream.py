"""Examples that stay where they lie until training asks for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import jax
import numpy as np

from .._checks import check_count, check_function, shown
from .._tree import path_name


class RandomAccess(Protocol):
    """What has a length and gives any of its examples: a list, a data source of TFDS, …"""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """A data set that is read while it is worked on, for sets that don't fit into memory.

    `jn.training.fit` takes it where it takes a batch of all examples, and makes the same steps of
    it: it draws the order of the examples and asks for them by their numbers.

    Attributes:
      source: the examples, with `len(source)` and `source[i]`, such as a list, a data source of
        TFDS, or a `MapDataset` of Grain; several threads read from it at once. An example is a dict
        (or other pytree) of numbers and arrays.
      transform: example → example, on those threads, such as to decode and resize an image; NumPy
        and Pillow let threads work side by side. Its result has the same shapes for all examples,
        and the same values each time: chance belongs into the `augment` of `fit`. None changes
        nothing.
      num_threads: examples that are read at once; None takes a few more than there are cores.

    Raises:
      TypeError: if source is none, or transform is no function.
      ValueError: if num_threads is below 1; on reading, if an example cannot be read, or has
        other entries or shapes than the others.

    Example:
      >>> import jaxnoise as jn
      >>> squares = jn.data.Stream(range(10), lambda i: {"x": i, "y": i**2})
      >>> len(squares), squares.read([3, 0, 4])["y"]
      (10, array([ 9,  0, 16]))
    """

    source: RandomAccess
    transform: Callable[[Any], Any] | None = None
    num_threads: int | None = None

    def __post_init__(self):
        if not (hasattr(self.source, "__len__") and hasattr(self.source, "__getitem__")):
            raise TypeError(
                "source must have a length and give its examples by number, got a "
                f"{type(self.source).__name__}"
            )
        if self.transform is not None:
            check_function(self.transform, "transform")
        if self.num_threads is not None:
            check_count(self.num_threads, "num_threads")

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"Stream({len(self)} examples)"

    def read(self, indices: Any) -> Any:
        """The batch of the examples of these numbers, of any shape, as NumPy arrays.

        Args:
          indices: (…) whole numbers.

        Returns:
          An example whose leaves have the leading axes of indices.
        """
        indices = np.asarray(indices)
        if indices.dtype.kind not in "iu" or not indices.size:
            raise ValueError(f"indices must be whole numbers, one at least, got {shown(indices)}")
        with ThreadPoolExecutor(self.num_threads) as threads:
            examples = list(threads.map(self._example, indices.ravel().tolist()))
        if len({jax.tree.structure(example) for example in examples}) > 1:
            raise ValueError(
                "the examples of the stream differ in their entries: give a transform that keeps "
                "what all have"
            )

        def stack(path: tuple, *leaves: Any) -> np.ndarray:
            stacked = _stack(path_name(path), leaves)
            return stacked.reshape((*indices.shape, *stacked.shape[1:]))

        return jax.tree_util.tree_map_with_path(stack, *examples)

    def _example(self, index: int) -> Any:
        try:
            example = self.source[index]
            return example if self.transform is None else self.transform(example)
        except Exception as error:  # a damaged file, a transform that fails …
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"example {index} of the stream cannot be read: {reason}") from error


def _stack(name: str, leaves: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(leaf) for leaf in leaves]
    if len(shapes := {array.shape for array in arrays}) > 1:
        found = " and ".join(map(str, sorted(shapes)[:2]))
        raise ValueError(
            f"the stream's {name!r} varies in shape from example to example, {found}: give a "
            "transform that brings all to one shape"
        )
    if arrays[0].dtype.kind in "OSU":
        raise ValueError(f"the stream's {name!r} is no array of numbers: leave it out by transform")
    return np.stack(arrays)
