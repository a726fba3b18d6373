"""The common base of result objects: frozen pytrees of arrays that know how to save themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import jax
import numpy as np

from ._checks import one_line

_HEADER = "__jaxnoise__"
_FORMAT = 1
_EXPANSION = 3000  # bytes that compression makes of one at most: deflate 1032, LZW 2730

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
        header = {"result": type(self).__name__, "format": _FORMAT, "fields": fields}
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
        kind, fields = _header_of(arrays[_HEADER], path)
        if kind != cls.__name__:
            raise ValueError(f"{path} holds a {kind}, not a {cls.__name__}")
        names = _field_names(cls)
        if unknown := sorted(set(fields) - set(names)):
            raise ValueError(f"{path} has fields that {cls.__name__} lacks: {', '.join(unknown)}")
        try:
            return cls(**{name: _take(fields.get(name), arrays) for name in names})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is incomplete: {error.args[0]} is missing") from error


def write_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays to exactly `path`, whole or not at all."""
    with whole_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Opens a file beside `path` for writing, which takes its place once all went well."""
    path = Path(path)
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _forget_the_dead(path)


def _forget_the_dead(path: Path) -> None:
    """Removes the beginnings of this file that processes which were killed have left."""
    if os.name != "posix":
        return  # where a signal 0 would be no mere question
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = partial.name.removeprefix(f".{path.name}.").removesuffix(".part")
        if process.isdecimal():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                partial.unlink(missing_ok=True)
            except PermissionError:
                pass  # it lives, as someone else's


def check_place(path: Path) -> None:
    """Refuses a folder in a file's place, and a file in a folder's."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if any(parent.is_file() for parent in path.parents):
        raise NotADirectoryError(f"{path.parent} is a file or lies in one: give another folder")


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads every array of an `.npz` archive; nothing in the file is executed."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with open(path, "rb") as file, open_npz(file) as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        reason = one_line(error)
        raise ValueError(f"{path} is no readable .npz file: {reason}") from error


def open_npz(file: IO[bytes]) -> np.lib.npyio.NpzFile:
    """The archive in a file, in which every array declares a size that it may have.

    Raises:
      ValueError: if it is none.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no zip archive, or its end is missing")
    file.seek(0)
    archive = np.load(file, allow_pickle=False)
    for member in archive.zip.infolist():
        if not member.filename.endswith(".npy"):
            continue
        with archive.zip.open(member) as stored:
            version = np.lib.format.read_magic(stored)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stored)
        check_size(member.compress_size, math.prod(shape) * dtype.itemsize, shape)
    return archive


def check_size(stored: int, declared: int, shape: Any) -> None:
    """Refuses what declares more than compression can have put into so many bytes."""
    if declared > _EXPANSION * stored:
        raise ValueError(f"it declares {declared} bytes of shape {shape}, more than it can hold")


def _header_of(array: np.ndarray, path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """The kind of a result and where its fields are, as `save` wrote them."""
    try:
        header = json.loads(str(array))
        kind, fields, version = header["result"], dict(header["fields"]), header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has a damaged header: get the file again") from error
    if version != _FORMAT:
        raise ValueError(f"{path} is of format {version}, this version reads {_FORMAT}")
    return kind, fields


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
