"""Trained networks in .npz files, an array per leaf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnoise._results import read_npz, write_npz
from jaxnoise._tree import leaves_with_path, path_name


def save_weights(path: Path, tree: Any) -> None:
    """Writes the leaves under their paths in the tree."""
    write_npz(path, {path_name(p): np.asarray(leaf) for p, leaf in leaves_with_path(tree)})


def load_weights(path: Path, like: Any) -> Any:
    """Reads them into the structure of a tree of the same shapes.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file holds another network.
    """
    found = read_npz(path)
    shapes = {path_name(p): np.shape(leaf) for p, leaf in leaves_with_path(like)}
    if {name: array.shape for name, array in found.items()} != shapes:
        raise ValueError(f"{path} holds another network: train it anew, or repeat its options")
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in shapes])
