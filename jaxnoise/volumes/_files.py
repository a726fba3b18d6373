"""Volumes in files: TIFF of several pages, folders of PNG slices, .npz."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike

from .._checks import one_line
from .._results import check_size, open_npz, whole_file, write_npz


def read_volume(path: str | os.PathLike, name: str | None = None) -> np.ndarray:
    """Reads a volume from a TIFF file, a folder of PNG slices or an .npz file.

    Nothing in a file is executed, and a file that declares more than it can hold is refused before
    memory is taken for it.

    Args:
      path: a .tif or .tiff file whose pages are the slices; a folder whose .png files are the
        slices, in natural order (z2 before z10); or an .npz file.
      name: which array of an .npz file; None where it holds a single one.

    Returns:
      (D, H, W), or (D, H, W, C) with colours, in the file's dtype.

    Raises:
      FileNotFoundError: if there is nothing at `path`.
      ValueError: if it is none of these, is damaged, or slices differ in size or type.

    Example:
      >>> import pathlib, tempfile
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> path = pathlib.Path(tempfile.mkdtemp(), "volume.tif")
      >>> jn.volumes.write_volume(path, np.zeros((3, 4, 5), np.uint16))
      >>> jn.volumes.read_volume(path).shape
      (3, 4, 5)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    suffix = path.suffix.lower()
    if name is not None and suffix != ".npz":
        raise ValueError(f"name chooses an array of an .npz file, but {path} is none")
    with _reading(path):
        if path.is_dir():
            volume = read_slices(path)
        elif suffix in (".tif", ".tiff"):
            volume = _read_tiff(path)
        elif suffix == ".npz":
            volume = _read_array(path, name)
        else:
            raise ValueError("expected .tif, .tiff, .npz or a folder of .png slices")
        if volume.ndim not in (3, 4):
            raise ValueError(f"it holds no volume (D, H, W) but shape {volume.shape}")
    return volume


def write_volume(path: str | os.PathLike, volume: ArrayLike) -> None:
    """Writes a volume, whole or not at all, in the format that the path tells.

    Args:
      path: .tif or .tiff (a page per slice), .npz (the array "volume", compressed), or a name
        without suffix, which becomes a folder of slices z0001.png, z0002.png, …
      volume: (D, H, W), or (D, H, W, 3) uint8 with colours. TIFF and PNG get booleans as 0 and
        255; PNG holds uint8 and uint16.

    Raises:
      ValueError: if the suffix is another, the volume has no voxels or other axes, the format lacks
        its dtype, or a folder for slices exists and holds something.

    Example:
      >>> import pathlib, tempfile
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> folder = pathlib.Path(tempfile.mkdtemp(), "slices")
      >>> jn.volumes.write_volume(folder, np.zeros((2, 4, 5), bool))
      >>> sorted(file.name for file in folder.iterdir())
      ['z0001.png', 'z0002.png']
    """
    path, volume = Path(path), np.asarray(volume)
    if volume.ndim not in (3, 4) or not volume.size:
        raise ValueError(f"volume must be (D, H, W), or (D, H, W, 3) in colours: {volume.shape}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        if volume.dtype.kind not in "biufc":
            raise ValueError(f"volume must hold numbers, got {volume.dtype}")
        return write_npz(path, {"volume": volume})
    volume = 255 * volume.astype(np.uint8) if volume.dtype == bool else volume
    if volume.ndim == 4 and (volume.shape[3] != 3 or volume.dtype != np.uint8):
        raise ValueError(f"volume must have 3 colours in uint8, got {volume.shape} {volume.dtype}")
    if suffix in (".tif", ".tiff"):
        return _write_tiff(path, volume)
    if suffix:
        raise ValueError(f"{path}: expected .tif, .tiff, .npz or no suffix, for PNG slices")
    return _write_slices(path, volume)


def _read_tiff(path: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise ValueError(f"its pages make {len(file.series)} stacks of different size or type")
        (series,) = file.series
        size = math.prod(series.shape) * np.dtype(series.dtype).itemsize
        check_size(path.stat().st_size, size, series.shape)
        volume = series.asarray()
    if "C" in series.axes:
        volume = np.moveaxis(volume, series.axes.index("C"), -1)
    is_slice = volume.ndim == 2 + bool(set("CS") & set(series.axes))
    return volume[None] if is_slice else volume


def _write_tiff(path: Path, volume: np.ndarray) -> None:
    import tifffile

    if volume.dtype.kind not in "iuf":
        raise ValueError(f"TIFF holds integers and floating numbers, not {volume.dtype}")
    photometric = "rgb" if volume.ndim == 4 else "minisblack"
    with whole_file(path) as file:
        tifffile.imwrite(file, volume, photometric=photometric)


def read_slices(folder: Path) -> np.ndarray:
    """The .png files of a folder in natural order as one array, (n, H, W) or (n, H, W, C)."""
    from PIL import Image

    paths = sorted(folder.glob("*.png"), key=_natural)
    if not paths:
        raise ValueError("there are no .png files in it")
    volume = None
    for index, path in enumerate(paths):
        with Image.open(path, formats=["PNG"]) as image:
            check_size(path.stat().st_size, math.prod(image.size), image.size)
            pixels = np.asarray(image)
        if image.mode == "I":  # what Pillow makes of 16 bits in some versions
            pixels = pixels.astype(np.uint16)
        if volume is None:
            volume = np.empty((len(paths), *pixels.shape), pixels.dtype)
        if pixels.shape != volume.shape[1:] or pixels.dtype != volume.dtype:
            first = f"{paths[0].name} {volume.shape[1:]} {volume.dtype}"
            raise ValueError(f"{path.name} is {pixels.shape} {pixels.dtype}, but {first}")
        volume[index] = pixels
    assert volume is not None
    return volume


def _write_slices(folder: Path, volume: np.ndarray) -> None:
    from PIL import Image

    if volume.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"PNG holds uint8 and uint16, not {volume.dtype}: convert it, or use .npz")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} exists and holds something: remove it, or take another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    digits = max(4, len(str(len(volume))))
    try:
        partial.mkdir()
        for index, pixels in enumerate(volume, start=1):
            Image.fromarray(pixels).save(partial / f"z{index:0{digits}}.png")
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _read_array(path: Path, name: str | None) -> np.ndarray:
    """One array of an .npz file; the others aren't read."""
    with open(path, "rb") as file, open_npz(file) as archive:
        found = ", ".join(archive.files) or "nothing"
        if name is None and len(archive.files) != 1:
            raise ValueError(f"give the name of one of its arrays: {found}")
        name = archive.files[0] if name is None else name
        if name not in archive.files:
            raise ValueError(f"it has no array {name!r}, but {found}")
        return archive[name]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns whatever a reader raises for damaged bytes into one line that names the file."""
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:
        reason = one_line(error)
        raise ValueError(f"{path} can't be read as a volume: {reason}") from error


def _natural(path: Path) -> list:
    """Order of names in which numbers count as such."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
