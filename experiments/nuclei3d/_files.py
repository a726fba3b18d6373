"""Folders of volumes: image_000.tif, image_001.tif, …"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import jaxnoise as jn


def write_all(folder: Path, stem: str, volumes: Sequence[np.ndarray]) -> None:
    """Writes volumes as <stem>_000.tif, <stem>_001.tif, …"""
    for index, volume in enumerate(volumes):
        jn.volumes.write_volume(folder / f"{stem}_{index:03}.tif", volume)


def read_all(folder: Path, stem: str, made_by: str = "") -> list[np.ndarray]:
    """The volumes of a folder in the order of their names.

    Args:
      folder: where they are.
      stem: what their names begin with.
      made_by: the step that writes them; there may be none where it isn't given.

    Raises:
      ValueError: if there are none.
    """
    paths = sorted(folder.glob(f"{stem}_*.tif"))
    if not paths and made_by:
        raise ValueError(f"there is no {folder}/{stem}_….tif: run the step {made_by} first")
    return [jn.volumes.read_volume(path) for path in paths]
