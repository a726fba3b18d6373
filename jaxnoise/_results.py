"""The common base of result objects: frozen pytrees of arrays that know how to save themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

_HEADER = "__jaxnoise__"


class Result:
    """Base of the result classes.

    A subclass is a frozen dataclass registered with `jax.tree_util.register_dataclass`. Its fields
    hold arrays, None, or dicts of these to any depth.
    """

    def save(self, path: str | os.PathLike) -> None:
        """Writes the result to `path` as a NumPy `.npz` archive, whole or not at all.

        The entries are named after the fields, `field/key` where a field is a dict.

        Raises:
          TypeError: if a field holds something other than arrays, None or dicts of them.
        """
        arrays: dict[str, np.ndarray] = {}
        entries: list[list[str]] = []
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            for keys, value in _flatten(getattr(self, field.name), (field.name,)):
                entries.append(list(keys))
                arrays["/".join(keys)] = value
        header = {"result": type(self).__name__, "format": 1, "entries": entries}
        arrays[_HEADER] = np.array(json.dumps(header))
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Reads a result that `save` wrote.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if the file is damaged or holds something else.
        """
        arrays = read_npz(path)
        if _HEADER not in arrays:
            raise ValueError(f"{path} is an .npz file, but not one that {cls.__name__}.save wrote")
        header = json.loads(str(arrays[_HEADER]))
        if header["result"] != cls.__name__:
            raise ValueError(f"{path} holds a {header['result']}, not a {cls.__name__}")
        fields: dict[str, Any] = {}
        for keys in header["entries"]:
            if "/".join(keys) not in arrays:
                raise ValueError(f"{path} is incomplete: {'/'.join(keys)} is missing")
            node = fields
            for key in keys[:-1]:
                node = node.setdefault(key, {})
            node[keys[-1]] = arrays["/".join(keys)]
        names = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
        if unknown := sorted(set(fields) - set(names)):
            raise ValueError(f"{path} has fields that {cls.__name__} lacks: {', '.join(unknown)}")
        return cls(**{name: fields.get(name) for name in names})


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays to exactly `path`, through a temporary file beside it that then replaces it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads every array of an `.npz` archive; nothing in the file is executed."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable .npz file: {error}") from error


def _flatten(value: Any, keys: tuple[str, ...]):
    if value is None:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, (*keys, str(key)))
    elif isinstance(value, jax.Array | np.ndarray | np.generic | int | float):
        yield keys, np.asarray(value)
    else:
        raise TypeError(f"{'/'.join(keys)} is a {type(value).__name__}; only arrays can be saved")
