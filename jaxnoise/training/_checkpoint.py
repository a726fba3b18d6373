"""Checkpoints of a training run, kept by Orbax: whole, strict, the newest first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._tree import leaves_with_path, path_name

_FORMAT = 1


class Checkpoints:
    """The checkpoints of one run in one folder.

    Each holds the carry and the history after some number of epochs. Its description (tree, shapes,
    dtypes, settings) must be that of the run that reads it, else it is refused.

    Args:
      folder: where they are, made if it isn't there.
      carry: a carry of the run, for its structure.
      settings: what else must agree for a run to go on, as JSON values.
    """

    def __init__(self, folder: str | os.PathLike, carry: Any, settings: dict[str, Any]):
        from orbax.checkpoint import v1  # takes a second to import

        ocp: Any = v1  # its types name private modules

        self._folder = Path(folder).absolute()
        self._abstract = jax.tree.leaves(jax.tree.map(_abstract_leaf, carry))
        self._structure = jax.tree.structure(carry)
        self._settings = {"format": _FORMAT, "carry": _digest(carry)} | settings
        self._checkpointer = ocp.training.Checkpointer(
            self._folder,
            preservation_policy=ocp.training.preservation_policies.LatestN(2),
            cleanup_tmp_directories=True,
        )

    def save(self, epoch: int, carry: Any, history: list[dict[str, Any]]) -> None:
        """Writes the carry and the history after `epoch` epochs."""
        self._checkpointer.save(
            epoch,
            {"leaves": jax.tree.leaves(carry)},
            custom_metadata={"settings": self._settings, "history": history},
        )

    def newest(self) -> tuple[Any, list[dict[str, Any]]] | None:
        """(carry, history) of the newest checkpoint, None where there is none.

        Raises:
          ValueError: if it was written by a different run, or is damaged.
        """
        latest = self._checkpointer.latest
        if latest is None:
            return None
        with self._refused_if_damaged(latest.step):
            found: Any = self._checkpointer.metadata(latest).custom_metadata
            theirs, records = found["settings"], found["history"]
        ours = json.loads(json.dumps(self._settings))
        if different := sorted(k for k in ours.keys() | theirs if ours.get(k) != theirs.get(k)):
            raise ValueError(
                f"the checkpoint in {self._folder} is of another run ({', '.join(different)} "
                "differ): give another checkpoint_dir, or remove this one"
            )
        with self._refused_if_damaged(latest.step):
            loaded = self._checkpointer.load(latest, {"leaves": self._abstract})
        return jax.tree.unflatten(self._structure, loaded["leaves"]), records

    @contextlib.contextmanager
    def _refused_if_damaged(self, epoch: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax raises errors of many kinds
            raise ValueError(
                f"the checkpoint {self._folder / str(epoch)} is damaged: remove that folder to go "
                "on from the one before"
            ) from error

    def close(self) -> None:
        self._checkpointer.close()


def _abstract_leaf(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _digest(tree: Any) -> str:
    """A short digest of the paths, shapes and dtypes in a tree."""
    lines = [f"{path_name(p)} {leaf.shape} {leaf.dtype}" for p, leaf in leaves_with_path(tree)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def describe_key(key: jax.Array) -> list[int]:
    return np.asarray(jax.random.key_data(key)).ravel().tolist()
