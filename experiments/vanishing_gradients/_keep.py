"""The iterates that an unfinished run keeps in its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnoise._results import read_npz, whole_file


def write_iterate(folder: Path, epoch: int, params: Any) -> None:
    """Keeps the parameters of all replicas after an epoch; epoch 0 is the start."""
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(params))}
    with whole_file(_iterate(folder, epoch)) as file:
        np.savez(file, **leaves)  # pyright: ignore[reportArgumentType]


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """One replica's parameters after 0, 1, …, `epochs` epochs, read from their files in turn."""

    folder: Path
    like: Any  # parameters of one replica
    replica: int
    epochs: int

    def __len__(self) -> int:
        return self.epochs + 1

    def __iter__(self) -> Iterator[Any]:
        for epoch in range(len(self)):
            arrays = read_npz(_iterate(self.folder, epoch))
            leaves = [arrays[str(i)][self.replica] for i in range(len(arrays))]
            yield jax.tree.unflatten(jax.tree.structure(self.like), leaves)


def _iterate(folder: Path, epoch: int) -> Path:
    return folder / f"iterate_{epoch:05d}.npz"
