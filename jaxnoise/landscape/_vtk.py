"""Landscapes as files for ParaView and other VTK programs."""

from __future__ import annotations

import os
import re

import numpy as np

from .._checks import check_kind, check_numbers
from .._results import whole_file
from .._streaming import named
from ._grid import LossGrid


def save_vtk(
    grid: LossGrid, path: str | os.PathLike, *, metric: str = "loss", scale: float = 1.0
) -> None:
    """Writes a landscape as a surface in a legacy VTK file (.vtk), whole or not at all.

    The points of the structured grid are (α_i, β_j, scale · f(α_i, β_j)). Every metric is an array
    of the points under its own name; white space in names, which the format forbids, becomes `_`.
    Values that are not finite are nan in these arrays, which ParaView shows in a colour of its own;
    their points take the greatest finite height, as no geometry is allowed to have holes.

    Args:
      grid: the landscape.
      path: the file.
      metric: which metric is the height, where the grid holds several.
      scale: what heights are multiplied with.

    Raises:
      ValueError: if there is no such metric, none of its values is finite, or scale is not finite.

    References:
      Schroeder, Martin, Lorensen, "The Visualization Toolkit", 2006, file formats.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> x = np.linspace(-1, 1, 5)
      >>> grid = jn.landscape.LossGrid(x, x, x[:, None] ** 2 + x**2, 0.0)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     jn.landscape.save_vtk(grid, f"{folder}/bowl.vtk")
      ...     Path(f"{folder}/bowl.vtk").read_bytes().splitlines()[4]
      b'DIMENSIONS 5 5 1'
    """
    check_kind(grid, "grid", LossGrid)
    check_numbers(scale, "scale")
    metrics = {name: np.asarray(values, float) for name, values in named(grid.values).items()}
    if len(metrics) == 1 and not isinstance(grid.values, dict):
        metric = "loss"
    if metric not in metrics:
        raise ValueError(f"metric must be one of {', '.join(metrics)}, got {metric!r}")
    heights = metrics[metric]
    is_finite = np.isfinite(heights)
    if not is_finite.any():
        raise ValueError(f"{metric} has no finite value in this grid: try a smaller radius")
    if not np.isfinite(scale):
        raise ValueError(f"scale must be a finite number, got {scale}")
    heights = np.where(is_finite, heights, heights[is_finite].max())
    if heights.shape != (np.size(grid.alphas), np.size(grid.betas)):
        raise ValueError(
            f"grid has values of shape {heights.shape} at {np.size(grid.alphas)} alphas and "
            f"{np.size(grid.betas)} betas"
        )
    alphas, betas = np.meshgrid(grid.alphas, grid.betas, indexing="ij")
    points = np.stack([_in_order(x) for x in (alphas, betas, scale * heights)], axis=-1)
    n, m = heights.shape
    with whole_file(path) as file:
        file.write(b"# vtk DataFile Version 3.0\nLoss landscape\nBINARY\n")
        file.write(f"DATASET STRUCTURED_GRID\nDIMENSIONS {n} {m} 1\n".encode())
        file.write(f"POINTS {n * m} double\n".encode() + _big_endian(points))
        file.write(f"\nPOINT_DATA {n * m}\n".encode())
        for name, values in metrics.items():
            values = np.where(np.isfinite(values), values, np.nan)
            name = re.sub(r"\s", "_", name)
            file.write(f"SCALARS {name} double 1\nLOOKUP_TABLE default\n".encode())
            file.write(_big_endian(_in_order(values)) + b"\n")


def _in_order(values: np.ndarray) -> np.ndarray:
    """(n m,) as VTK counts points, the first direction fastest."""
    return values.ravel(order="F")


def _big_endian(values: np.ndarray) -> bytes:
    return values.astype(">f8").tobytes()
