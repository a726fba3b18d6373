"""Sets of volumes in local files: .npz with an array per volume, folders of PNG slices."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..volumes._files import read_slices
from ._dataset import Batch
from ._files import read_npz

_AN_ARRAY_PER_VOLUME = re.compile(r"([^_]+)_(.+)")


def volume_parts(folder: Path) -> dict[str, Path]:
    """The files of the parts "train" and "test", named <folder>_<part>….npz; {} without them."""
    parts = {}
    for part in ("train", "test"):
        files = sorted(folder.glob(f"{folder.name}_{part}*.npz"))
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise ValueError(f"{folder} holds several files of its {part} part: {names}; keep one")
        if files:
            parts[part] = files[0]
    return parts if "train" in parts else {}


def slice_folders(folder: Path) -> list[Path]:
    """The folders below that hold .png files, where there are such."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.png")))


def read_volumes(path: Path) -> Batch:
    """The volumes <field>_<name> of a file in the order of their names, padded to one shape.

    "image" gets a channel axis, and "shape" tells the size that each volume had.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in read_npz(path).items():
        match = _AN_ARRAY_PER_VOLUME.fullmatch(key)
        if match is None or array.ndim != 3:
            raise ValueError(
                f"{path}: expected volumes image_<name>, label_<name>, … of three axes, found "
                f"{key} of shape {array.shape}"
            )
        field, name = match.groups()
        found.setdefault(field, {})[name] = array
    names = sorted(found.get("image", {}))
    if any(sorted(volumes) != names for volumes in found.values()):
        counts = ", ".join(f"{len(volumes)} {field}" for field, volumes in found.items())
        raise ValueError(f"{path}: expected one of each kind per name, found {counts}")
    shapes = np.array([found["image"][name].shape for name in names], np.int32)
    batch = {field: _stack(path, volumes, names, shapes) for field, volumes in found.items()}
    return {**batch, "image": batch["image"][..., None], "shape": shapes}


def read_slice_folders(folder: Path) -> Batch:
    """The slices of each folder below, by its name."""
    return {path.name: read_slices(path) for path in slice_folders(folder)}


def _stack(
    path: Path, volumes: dict[str, np.ndarray], names: list[str], shapes: np.ndarray
) -> np.ndarray:
    dtype = np.result_type(*volumes.values())
    stack = np.zeros((len(names), *shapes.max(axis=0)), dtype)
    for place, name, shape in zip(stack, names, shapes, strict=True):
        if volumes[name].shape != tuple(shape):
            raise ValueError(f"{path}: arrays of {name} differ in shape")
        place[tuple(slice(length) for length in shape)] = volumes[name]
    return stack
