"""What tells the contents of two folders apart, to the last bit, but for times; damaged files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnoise._results import read_npz
from jaxnoise._tree import leaves_with_path, path_name

_TIME = "seconds"
_LINE = ("run", "epoch", "replica")  # what tells the lines of curves.jsonl apart


def differences(one: Path, other: Path) -> list[str]:
    """The names of files, and of what is in them, that are not in both folders the same."""
    ours, theirs = contents(one), contents(other)
    return sorted(name for name in ours.keys() | theirs if ours.get(name) != theirs.get(name))


def contents(folder: Path) -> dict[str, Any]:
    """All that is in a folder, by name, as values that are equal where every bit is.

    Files of checkpoints have names drawn at random, and are read for what they hold. Lines of
    curves that came twice count once, as the last one does.
    """
    described = (path.parent for path in folder.rglob("_CHECKPOINT_METADATA"))
    checkpoints = {path for path in described if path.name.isdecimal()}  # the whole ones
    found = {}
    for path in sorted(checkpoints):
        found |= _named(path.relative_to(folder), _checkpoint(path))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and checkpoints.isdisjoint(path.parents):
            found |= _named(path.relative_to(folder), _file(path))
    return found


def damaged(folder: Path) -> list[str]:
    """What is no whole file, of those that are written in one go."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".npz", ".json") and path.is_file():
            try:
                _file(path)
            except ValueError:
                found.append(f"{path.relative_to(folder).as_posix()}: damaged")
    return found


def arrays_of(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree by name, random keys as their bits."""

    def plain(leaf: Any) -> np.ndarray:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return {f"{path_name(path)}": plain(leaf) for path, leaf in leaves_with_path(tree)}


def _named(path: Path, entries: dict[str, Any]) -> dict[str, Any]:
    return {f"{path.as_posix()}: {name}": value for name, value in entries.items()}


def _file(path: Path) -> dict[str, Any]:
    if path.suffix == ".npz":
        return _bits(read_npz(path))
    if path.suffix == ".json":
        return {"content": _without_times(json.loads(path.read_text(encoding="utf-8")))}
    if path.suffix == ".jsonl":
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return {str([line.get(k) for k in _LINE]): _without_times(line) for line in lines}
    return {"content": path.read_bytes()}


def _checkpoint(folder: Path) -> dict[str, Any]:
    from orbax.checkpoint import v1

    ocp: Any = v1  # its types name private modules
    metadata = ocp.metadata(folder).custom_metadata
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sharding info not provided")
        arrays = arrays_of(ocp.load(folder))
    return {"metadata": _without_times(metadata)} | _bits(arrays)


def _bits(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: (array.dtype.str, array.shape, array.tobytes())
        for name, array in arrays.items()
        if name != _TIME
    }


def _without_times(value: Any) -> str:
    """JSON without times, as text in which equal numbers are written the same."""

    def left(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): left(v) for k, v in value.items() if k != _TIME}
        return [left(v) for v in value] if isinstance(value, list | tuple) else value

    return json.dumps(left(value), sort_keys=True)
