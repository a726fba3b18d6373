"""What an unfinished run keeps in its folder, so that it can go on: plan, parts, iterates."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnoise._results import read_npz, whole_file

from .._common import write_json
from ._config import Plan


def begin(folder: Path, plan: Plan, resume: bool) -> None:
    """Empties the folder, unless it holds parts of a run of the same plan that is to go on.

    Raises:
      ValueError: if it is to go on but was made by another plan.
    """
    path = folder / "plan.json"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    theirs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if theirs is None:
        write_json(path, plan)
        return
    new = folder / "plan_now.json"
    write_json(new, plan)
    ours = json.loads(new.read_text(encoding="utf-8"))
    new.unlink()
    if changed := sorted(name for name in ours if ours[name] != theirs.get(name)):
        raise ValueError(
            f"--resume: {folder} is of a run with other options ({', '.join(changed)} differ): "
            "start anew without --resume, or give another --out"
        )


def remembered(path: Path, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, as JSON values; read back from `path` where it is there already."""
    if not path.is_file():
        write_json(path, compute())
    return json.loads(path.read_text(encoding="utf-8"))


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
