"""Checkpoints of a training run, kept by Orbax: whole, strict, the newest first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._checks import one_line
from .._lock import held
from .._sharding import on_host
from .._tree import leaves_with_path, path_name
from ..schedules import NoiseStage
from ._epoch import ReplicaMode
from ._players import Player
from ._processes import in_the_first

_FORMAT = 1
_KEPT = 2  # of the newest checkpoints


class Checkpoints:
    """The checkpoints of one run in one folder.

    Each holds the carry and the history after some number of epochs. Its description (tree, shapes,
    dtypes, settings) must be that of the run that reads it, else it is refused. One run at a time
    has them.

    Args:
      folder: where they are, made if it isn't there.

    Raises:
      ValueError: if its path has brackets.
      OSError: if another run has the folder, or it can't be written to.
    """

    def __init__(self, folder: str | os.PathLike):
        from orbax.checkpoint import v1  # takes a second to import

        ocp: Any = v1  # its types name private modules

        self._folder = Path(folder).absolute()
        if {"[", "]"} & set(str(self._folder)):
            raise ValueError(
                f"checkpoint_dir must have no [ or ] in its path, which Orbax takes for a pattern, "
                f"got {self._folder}"
            )
        self._settings: dict[str, Any] = {}
        with contextlib.ExitStack() as opened:
            lock = held(self._folder, "checkpoint_dir")
            in_the_first(lambda: opened.enter_context(lock))
            self._checkpointer = ocp.training.Checkpointer(
                self._folder,
                preservation_policy=ocp.training.preservation_policies.LatestN(_KEPT),
                cleanup_tmp_directories=True,
            )
            opened.callback(self._end)
            self._opened = opened.pop_all()

    def kept(self, name: str) -> Any:
        """A setting of the run that wrote the newest checkpoint, None where there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else self._description(latest)[0].get(name)

    def newest(self, carry: Any, settings: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
        """(carry, history) of the newest checkpoint; those at the start where there is none.

        Args:
          carry: that of the run at its start, for its structure.
          settings: what else must agree for a run to go on, as JSON values; the checkpoints that
            are saved from now on have them.

        Raises:
          ValueError: if it was written by a different run, or is damaged.
        """
        self._settings = {"format": _FORMAT, "carry": _digest(carry)} | settings
        latest = self._checkpointer.latest
        if latest is None:
            return carry, []
        theirs, records = self._description(latest)
        ours = json.loads(json.dumps(self._settings))
        if different := sorted(k for k in ours.keys() | theirs if ours.get(k) != theirs.get(k)):
            raise ValueError(
                f"the checkpoint in {self._folder} is of another run ({', '.join(different)} "
                "differ): give another checkpoint_dir, or remove this one"
            )
        abstract = jax.tree.leaves(jax.tree.map(_abstract_leaf, carry))
        with self._refused_if_damaged(latest.step):
            loaded = self._checkpointer.load(latest, {"leaves": abstract})
        for old in self._checkpointer.checkpoints[:-_KEPT]:  # left by a run that was killed
            self._checkpointer.delete(old.step)
        return jax.tree.unflatten(jax.tree.structure(carry), loaded["leaves"]), records

    def save(self, epoch: int, carry: Any, history: list[dict[str, Any]]) -> None:
        """Writes the carry and the history after `epoch` epochs.

        Raises:
          OSError: if they can't be written; the checkpoints that were there stay.
        """
        try:
            self._checkpointer.save(
                epoch,
                {"leaves": jax.tree.leaves(carry)},
                custom_metadata={"settings": self._settings, "history": history},
            )
        except Exception as error:  # Orbax raises errors of many kinds
            raise OSError(
                f"the checkpoint of epoch {epoch} cannot be written to {self._folder}: once this "
                f"is mended, the same call goes on from the one before ({one_line(error)})"
            ) from error

    def _description(self, checkpoint: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The settings and the history in a checkpoint."""
        with self._refused_if_damaged(checkpoint.step):
            found: Any = self._checkpointer.metadata(checkpoint).custom_metadata
            return found["settings"], found["history"]

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
        self._opened.close()

    def _end(self) -> None:
        with contextlib.suppress(Exception):  # the error of a failed save, which save has raised
            self._checkpointer.close()


def _abstract_leaf(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _digest(tree: Any) -> str:
    """A short digest of the paths, shapes and dtypes in a tree."""
    lines = [f"{path_name(p)} {leaf.shape} {leaf.dtype}" for p, leaf in leaves_with_path(tree)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def settings_of(
    key: jax.Array,
    players: Sequence[Player],
    hyperparams: Any,
    replica_mode: ReplicaMode,
    num_examples: int,
    stages: Sequence[NoiseStage],
    keep_best: str | None,
) -> dict[str, Any]:
    """What must agree, beside the carry, for a run to go on as if it had never stopped."""
    return {
        "key": np.asarray(jax.random.key_data(key)).ravel().tolist(),
        "players": [player.name for player in players],
        "hyperparams": jax.tree.map(lambda x: on_host(x).tolist(), hyperparams),
        "replica_mode": replica_mode,
        "num_examples": num_examples,
        "keep_best": keep_best,
        "stages": [[s.epochs, np.asarray(s.learning_rate).tolist(), s.batch_size] for s in stages],
    }
