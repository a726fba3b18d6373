"""The common base of result objects: frozen pytrees of arrays that know how to save themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import jax
import numpy as np

_HEADER = "__jaxnoise__"

# What NumPy and zipfile raise for damaged archives, and TypeError for a single array (.npy).
_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Result:
    """Base of the result classes.

    A subclass is a frozen dataclass registered with `jax.tree_util.register_dataclass`. Its fields
    hold arrays, None, or dicts of these to any depth.
    """

    def save(self, path: str | os.PathLike) -> None:
        """Writes the result to `path` as a NumPy `.npz` archive, whole or not at all.

        The entries are named after the fields, `field/key` where a field is a dict. Dict keys
        become strings.

        Raises:
          TypeError: if a field holds something other than arrays of numbers, None or dicts of them.
        """
        arrays: dict[str, np.ndarray] = {}
        names = _field_names(type(self))
        fields = {name: _put(getattr(self, name), name, arrays) for name in names}
        header = {"result": type(self).__name__, "format": 1, "fields": fields}
        write_npz(path, {**arrays, _HEADER: np.array(json.dumps(header))})

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
        fields, names = header["fields"], _field_names(cls)
        if unknown := sorted(set(fields) - set(names)):
            raise ValueError(f"{path} has fields that {cls.__name__} lacks: {', '.join(unknown)}")
        try:
            return cls(**{name: _take(fields.get(name), arrays) for name in names})
        except KeyError as error:
            raise ValueError(f"{path} is incomplete: {error.args[0]} is missing") from error


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays to exactly `path`, whole or not at all."""
    with whole_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Opens a file beside `path` for writing, which takes its place once all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads every array of an `.npz` archive; nothing in the file is executed."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise ValueError(f"{path} is no readable .npz file: {error}") from error


def _field_names(result: type) -> list[str]:
    return [field.name for field in dataclasses.fields(result)]


def _put(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Files the arrays in `value` under their names; gives `value` with these in their place."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {str(key): _put(item, f"{name}/{key}", arrays) for key, item in value.items()}
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float):
        raise TypeError(f"{name} is a {type(value).__name__}; only arrays can be saved")
    array = np.asarray(value)
    if array.dtype.kind in "OV":
        raise TypeError(f"{name} has dtype {array.dtype}, which .npz files lack: convert it first")
    while name in arrays:  # {"a/b": …, "a": {"b": …}}
        name += "_"
    arrays[name] = array
    return name


def _take(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `_put`."""
    if isinstance(value, dict):
        return {key: _take(item, arrays) for key, item in value.items()}
    return None if value is None else arrays[value]
