"""Training curves, written as they come: JSON lines always, TensorBoard or W&B where asked for."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

Log = Literal["tensorboard", "wandb"]


class Writer(Protocol):
    """Takes the scalars of one run at one step."""

    def write(self, run: str, step: int, scalars: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class Curves:
    """The curves of an experiment's runs, one line of JSON for every epoch of every replica.

    A line holds "run", "epoch", "steps", the metrics by name ("train loss", "test accuracy") and,
    with replicas, "replica". Lines of a finished epoch stay when the program is interrupted; an
    epoch that is trained again is written again, and the last line counts.

    Args:
      path: of the file of lines; lines are added to those that are there.
      writers: more places for the same scalars.
    """

    def __init__(self, path: Path, writers: tuple[Writer, ...] = ()):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():  # a process that was killed may have left a part of a line
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        self._file = path.open("a", encoding="utf-8")
        self._writers = writers

    def log(self, run: str, epoch: int, record: dict[str, Any]) -> None:
        """Writes what `on_epoch` of `jaxnoise.training.fit` is told."""
        for replica, scalars in _by_replica(record):
            line: dict[str, Any] = {"run": run, "epoch": epoch, "steps": record["steps"]}
            name = run
            if replica is not None:
                line["replica"] = replica
                name = f"{run}/{replica}"
            finite = {k: v if np.isfinite(v) else None for k, v in scalars.items()}
            self._file.write(json.dumps({**line, **finite}, allow_nan=False) + "\n")
            for writer in self._writers:
                writer.write(name, record["steps"], scalars)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        for writer in self._writers:
            writer.close()

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_curves(out: Path, log: Log | None = None, *, resume: bool = False) -> Curves:
    """Opens `<out>/curves.jsonl`, and TensorBoard's or W&B's writer beside it.

    Args:
      out: folder of the run.
      log: "tensorboard" writes event files to `<out>/tensorboard` (needs tensorboardX), "wandb"
        a project named after the folder (needs wandb, which keeps it in `<out>` when offline).
      resume: whether to add to the lines that are there, rather than to start anew.

    Raises:
      ValueError: if the package that `log` needs is not installed.
    """
    path = out / "curves.jsonl"
    writers = {None: (), "tensorboard": (_TensorBoard,), "wandb": (_WandB,)}[log]
    made = tuple(writer(out) for writer in writers)
    if not resume:
        path.unlink(missing_ok=True)
    return Curves(path, made)


class _TensorBoard:
    def __init__(self, out: Path):
        self._make = _package("tensorboardX", "tensorboard").SummaryWriter
        self._folder = out / "tensorboard"
        self._open: dict[str, Any] = {}

    def write(self, run: str, step: int, scalars: dict[str, float]) -> None:
        if run not in self._open:
            self._open[run] = self._make(str(self._folder / run))
        for name, value in scalars.items():
            self._open[run].add_scalar(name.replace(" ", "/", 1), value, step)

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()


class _WandB:
    """One W&B run for the experiment; its runs' metrics have their names in front."""

    def __init__(self, out: Path):
        wandb = _package("wandb", "wandb")
        self._run = wandb.init(project=out.name, dir=str(out))

    def write(self, run: str, step: int, scalars: dict[str, float]) -> None:
        named = {f"{run}/{name}": value for name, value in scalars.items()}
        self._run.log({**named, f"{run}/steps": step})

    def close(self) -> None:
        self._run.finish()


def _package(name: str, log: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"--log {log} needs {name}: pip install {name}") from error


def _by_replica(record: dict[str, Any]) -> Iterator[tuple[int | None, dict[str, float]]]:
    metrics = {
        f"{part} {name}": values
        for part in ("train", "test")
        for name, values in record[part].items()
    }
    replicas = {len(values) for values in metrics.values() if isinstance(values, list)}
    if not replicas:
        yield None, metrics
    for replica in range(max(replicas, default=0)):
        yield replica, {name: values[replica] for name, values in metrics.items()}
