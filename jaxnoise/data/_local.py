"""Data sets in local files, found by name: idx, .npz, LIBSVM and volumes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ._dataset import Batch, Dataset, make_dataset
from ._files import decode_jpegs, read_idx, read_libsvm_files, read_npz
from ._volumes import read_slice_folders, read_volumes, slice_folders, volume_parts

_LIBSVM_SUFFIXES = ("", ".bz2", ".gz", ".xz", ".libsvm", ".svm", ".txt")
_DESCRIPTIONS = {
    "idx": "idx files",
    "libsvm": "LIBSVM text",
    "volumes": "volumes in .npz files, padded with zeros at their ends to one shape",
    "slices": "folders of PNG slices",
}
_IDX_PREFIXES = (("train", ("train",)), ("test", ("t10k", "test")))


@dataclass(frozen=True)
class LocalFiles:
    """The files of one set. idx: images and labels of each part; .npz: one file with both parts;
    LIBSVM and volumes: a file per part; slices: the folder of their folders. `test` is empty where
    there is no test part."""

    kind: Literal["idx", "npz", "libsvm", "volumes", "slices"]
    train: tuple[Path, ...]
    test: tuple[Path, ...]


def find_files(name: str, root: Path) -> LocalFiles | None:
    """Looks for the files of a set; None where there are none.

    In this order: the folder root/name; files root/name.npz or root/name in LIBSVM text; root
    itself, where it holds idx files of that name; files of that name in one of root's folders.
    """
    path = root / name
    if path.is_dir() and (
        found := _idx_files(path)
        or _named(path, path.name)
        or _volume_files(path)
        or _only_npz(path)
        or _slice_files(path)
    ):
        return found
    if found := _named(path.parent, path.name):
        return found
    if _may_be(name, root) and (found := _idx_files(root)):
        return found
    below = [found for folder in _folders(root) if (found := _named(folder, name))]
    if len(below) > 1:
        places = ", ".join(str(files.train[0]) for files in below)
        raise ValueError(f"{name!r} is ambiguous: {places}; put the folder into the name")
    return below[0] if below else None


def load_local(name: str, files: LocalFiles, parts: tuple[str, ...]) -> Dataset:
    """Reads the parts ("train", "test") that are asked for and that the set has."""
    if files.kind == "npz":
        return _load_npz(name, files.train[0], parts)
    paths = {"train": files.train, "test": files.test}
    paths = {part: paths[part] for part in paths if paths[part]}
    if not (present := [part for part in parts if part in paths]):
        raise ValueError(f"{name!r} has no test part beside {files.train[0]}: add one")
    if files.kind == "volumes":
        batches = {part: read_volumes(*paths[part]) for part in present}
    elif files.kind == "slices":
        batches = {part: read_slice_folders(*paths[part]) for part in present}
    elif files.kind == "idx":
        batches = {part: _read_idx_pair(*paths[part]) for part in present}
    else:  # reads all parts, whichever are asked for, since both get the same features
        read = read_libsvm_files([path for (path,) in paths.values()])
        batches = dict(zip(paths, read, strict=True))
    return make_dataset(
        name,
        {part: batches[part] for part in present},
        source=", ".join(str(path) for part in present for path in paths[part]),
        description=f"{name}, from {_DESCRIPTIONS[files.kind]}",
    )


def _load_npz(name: str, path: Path, parts: tuple[str, ...]) -> Dataset:
    """Keys train_<key> and test_<key> make the two parts; keys without a prefix are all train."""
    arrays = read_npz(path)
    description = f"{name}, from an .npz file"
    class_names = tuple(map(str, np.ravel(arrays.pop("class_names", ())))) or None
    batches: dict[str, Batch] = {}
    for key, array in arrays.items():
        part, _, rest = key.partition("_")
        part, key = (part, rest) if part in ("train", "test") and rest else ("train", key)
        batches.setdefault(part, {})[key] = array
    batches = {part: batches[part] for part in parts if part in batches}
    if not batches:
        raise ValueError(f"{path}: no arrays for {' and '.join(parts)}; found {', '.join(arrays)}")
    for part, batch in batches.items():
        if {"jpeg", "offset"} <= batch.keys():
            images = decode_jpegs(path, batch.pop("jpeg"), batch.pop("offset"))
            batches[part] = {"image": images, **batch}
            original = name.removesuffix("_jpeg").replace("cifar10", "CIFAR-10")
            description = f"JPEG-recompressed {original}, from an .npz file"
    return make_dataset(
        name,
        batches,
        source=str(path),
        description=description,
        num_classes=len(class_names) if class_names else None,
        class_names=class_names,
    )


def _read_idx_pair(images_path: Path, labels_path: Path) -> Batch:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[:1] != labels.shape[:1]:
        raise ValueError(
            f"{images_path} holds {images.shape} but {labels_path} {labels.shape}: one label per "
            "image is expected; get both again"
        )
    return {"image": images, "label": labels}


def _idx_files(folder: Path) -> LocalFiles | None:
    """The four idx files, by the names that MNIST gave them; a lacking one by its usual name."""
    found: dict[str, tuple[Path, ...]] = {}
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for part, prefixes in _IDX_PREFIXES:
        pattern = rf"({'|'.join(prefixes)})-(images|labels)[-.]idx\d+(-\w+)?(\.gz)?"
        matches = {
            m[2]: path for path in reversed(files) if (m := re.fullmatch(pattern, path.name))
        }
        if matches:
            found[part] = (
                matches.get("images", folder / f"{prefixes[0]}-images-idx3-ubyte.gz"),
                matches.get("labels", folder / f"{prefixes[0]}-labels-idx1-ubyte.gz"),
            )
    if not found:
        return None
    usual = (folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")
    return LocalFiles("idx", found.get("train", usual), found.get("test", ()))


def _may_be(name: str, folder: Path) -> bool:
    """Whether idx files in folder, which don't tell their set, may be those of the name: it begins
    with it, or the name is an MNIST and the folder not that of another."""
    wanted, found = (text.lower().replace("-", "_") for text in (name, folder.name))
    return found.startswith(wanted) or ("mnist" in wanted and "mnist" not in found)


def _named(folder: Path, stem: str) -> LocalFiles | None:
    """The files of a set that carry its name, stem: .npz, or LIBSVM text and its .t for testing."""
    for path in (folder / f"{stem}.npz", folder / stem):
        if path.suffix == ".npz" and path.is_file():
            return LocalFiles("npz", (path,), (path,))
    train, test = (
        tuple(path for suffix in _LIBSVM_SUFFIXES if (path := folder / f"{name}{suffix}").is_file())
        for name in (stem, f"{stem}.t")
    )
    return LocalFiles("libsvm", train[:1], test[:1]) if train else None


def _only_npz(folder: Path) -> LocalFiles | None:
    """The .npz file of a folder that holds no other."""
    files = sorted(folder.glob("*.npz"))
    if len(files) > 1:
        names = ", ".join(path.stem for path in files)
        raise ValueError(
            f"{folder} holds several .npz files; name one, as {folder.name}/…: {names}"
        )
    return LocalFiles("npz", (files[0],), (files[0],)) if files else None


def _volume_files(folder: Path) -> LocalFiles | None:
    """Volumes in an .npz file per part."""
    if not (parts := volume_parts(folder)):
        return None
    return LocalFiles("volumes", (parts["train"],), tuple(parts[p] for p in parts if p == "test"))


def _slice_files(folder: Path) -> LocalFiles | None:
    """Folders of PNG slices in a folder."""
    return LocalFiles("slices", (folder,), ()) if slice_folders(folder) else None


def _folders(folder: Path) -> Iterator[Path]:
    return (
        (path for path in sorted(folder.iterdir()) if path.is_dir())
        if folder.is_dir()
        else iter(())
    )
