"""Losses along a line and over a plane through the parameters, as one compiled program."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from .._checks import check_count, check_numbers, check_positive, shown
from .._lock import held_file
from .._results import Result, check_place
from ._points import PointProgram

Radius = float | Sequence[float] | Sequence[Sequence[float]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LossGrid(Result):
    """Mean losses over a plane through the parameters.

    Attributes:
      alphas: (n,) rising coordinates along the first direction.
      betas: (n,) rising coordinates along the second direction.
      values: (n, n); values[i, j] is the mean loss at (alphas[i], betas[j]); a dict of such arrays
        where the loss function gives a dict of metrics. Cells that are not finite are kept.
      center: the mean loss at the parameters themselves, or a dict of such.
    """

    alphas: Any
    betas: Any
    values: Any
    center: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LossLine(Result):
    """Mean losses along a line through the parameters.

    Attributes:
      alphas: (n,) coordinates along the direction.
      values: (n,) mean loss at each, or a dict of such arrays.
      center: the mean loss at the parameters themselves, or a dict of such.
    """

    alphas: Any
    values: Any
    center: Any


def loss_grid(
    loss_fn: Callable,
    params: Any,
    directions: Any,
    data: Any,
    *,
    radius: Radius = 0.5,
    resolution: int = 40,
    chunk_size: int | None = None,
    vmap_points: int | None = None,
    sharding: NamedSharding | None = None,
    path: str | os.PathLike | None = None,
    progress: bool = False,
) -> LossGrid:
    """The landscape f(α, β) = L(w + α u + β v) on a grid around the parameters.

    One compiled program maps over chunks of the data and, for each, over all points. What of the
    loss is affine in α and β, the outputs of a first dense layer, is worked out once for all
    points. New values of parameters, directions or data of the same shapes compile nothing anew.

    Args:
      loss_fn: (params, batch) → losses (B,), or a dict of such metrics.
      params: w, pytree of floating arrays.
      directions: the pair (u, v), pytrees like `params`, as from `random_directions` and
        `trajectory_plane`; or both in one pytree like `params` whose leaves have a leading (2,), as
        the `vectors` of `jn.sharpness.hessian_eigenvalues`.
      data: batch of the n examples that L is the mean over.
      radius: r > 0; both coordinates take evenly spaced values in [−r, r], both ends included. A
        pair (r_α, r_β) gives each its own, a pair of ranges ((α_0, α_1), (β_0, β_1)) any rectangle,
        as `TrajectoryPlane.ranges` does.
      resolution: number of values of each coordinate, at least 2.
      chunk_size: most examples at a time; None takes about a million numbers of input.
      vmap_points: points evaluated side by side; None takes 1 on CPU, and where the network has
        convolutions (they would become grouped ones), else 8.
      sharding: how to distribute the points over devices, a `NamedSharding` whose first axis names
        the mesh axis or axes to use; None keeps to one device.
      path: file for the grid (.npz). The same program then runs row by row and the rows done are
        kept in `path` + ".part", from which an interrupted grid resumes. One run at a time has it.
      progress: whether to show progress on standard error. The program then runs row by row.

    Returns:
      `LossGrid`.

    Raises:
      ValueError: if an argument is wrong, or the rows kept belong to another grid.
      OSError: if another run writes the same file, or it can't be written.

    References:
      Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018.
      Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully Convolutional
      Networks", 2019, algorithm 1.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: (batch["x"] @ w) ** 2
      >>> plane = (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
      >>> grid = jn.landscape.loss_grid(
      ...     loss_fn, jnp.zeros(2), plane, {"x": jnp.eye(2)}, radius=1.0, resolution=3)
      >>> grid.values
      array([[1. , 0.5, 1. ],
             [0.5, 0. , 0.5],
             [1. , 0.5, 1. ]], dtype=float32)
    """
    plane = (radius, resolution, (chunk_size, vmap_points, sharding))
    given = (loss_fn, params, directions, data)
    if path is None:
        return over_plane(*given, None, progress, *plane)
    check_place(Path(path))
    partial = Path(f"{path}.part")
    with held_file(path, "path"):
        grid = over_plane(*given, partial, progress, *plane)
        grid.save(path)
        partial.unlink(missing_ok=True)
    return grid


def over_plane(
    loss_fn: Callable,
    params: Any,
    directions: Any,
    data: Any,
    partial: Path | None,
    progress: bool,
    radius: Radius,
    resolution: int,
    program_options: tuple[int | None, int | None, NamedSharding | None],
) -> LossGrid:
    """`loss_grid`, whose rows are kept in the file `partial` if there is one, and stay there."""
    alphas, betas = _coordinates(radius, resolution, 2)
    points = np.stack(np.meshgrid(alphas, betas, indexing="ij"), axis=-1).reshape(-1, 2)
    program = PointProgram(loss_fn, params, _pair(directions, params), data, *program_options)
    if partial is None and not progress:
        losses = program(_with_center(points))
    else:
        losses = program.block_by_block(_with_center(points), resolution, partial, progress)
    values, center = _take_center(losses)
    square = jax.tree.map(lambda x: x.reshape(resolution, resolution), values)
    return LossGrid(alphas, betas, square, center)


def loss_line(
    loss_fn: Callable,
    params: Any,
    direction: Any,
    data: Any,
    *,
    radius: float | Sequence[float] = 0.5,
    resolution: int = 40,
    chunk_size: int | None = None,
    vmap_points: int | None = None,
    sharding: NamedSharding | None = None,
) -> LossLine:
    """The landscape f(α) = L(w + α u) along a line through the parameters.

    Args:
      direction: u, a pytree like `params`.
      radius: r > 0 for [−r, r], or a range (α_0, α_1).
      loss_fn, params, data, resolution, chunk_size, vmap_points, sharding: as for `loss_grid`.

    Returns:
      `LossLine`.

    Raises:
      ValueError: if an argument is wrong.

    References:
      Goodfellow, Vinyals, Saxe, "Qualitatively Characterizing Neural Network Optimization
      Problems", 2015 (there from the start of a training to its end).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: (batch["x"] - w) ** 2
      >>> jn.landscape.loss_line(
      ...     loss_fn, jnp.array(0.0), jnp.array(1.0), {"x": jnp.zeros(1)}, radius=2.0, resolution=3
      ... ).values
      array([4., 0., 4.], dtype=float32)
    """
    (alphas,) = _coordinates(radius if np.ndim(radius) == 0 else [radius], resolution, 1)
    program = PointProgram(loss_fn, params, (direction,), data, chunk_size, vmap_points, sharding)
    return LossLine(alphas, *_take_center(program(_with_center(alphas[:, None]))))


def _pair(directions: Any, params: Any) -> tuple[Any, Any]:
    """(u, v), from a pair or from a pytree like the parameters whose leaves have a leading (2,)."""
    if jax.tree.structure(directions) != jax.tree.structure(params):
        found = len(directions) if isinstance(directions, Collection) else directions
        if found != 2:
            raise ValueError(f"directions must be a pair (u, v), got {shown(found)}")
        return tuple(directions)
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(directions)}
    if lengths != {(2,)}:
        raise ValueError(
            "directions must be a pair (u, v), or a pytree like params whose leaves have a leading "
            f"axis of length 2, got leading axes {sorted(lengths)}"
        )
    u, v = (jax.tree.map(lambda leaf: leaf[k], directions) for k in range(2))  # noqa: B023
    return u, v


def _coordinates(radius: Any, resolution: int, num: int) -> np.ndarray:
    """(num, resolution) coordinates along each direction."""
    check_count(resolution, "resolution", 2)
    check_numbers(radius, "radius")
    if np.ndim(radius) == 0:
        check_positive(radius, "radius")
        radius = [radius] * num
    ends = np.asarray(radius, float)
    if ends.ndim == 1:
        ends = np.stack([-ends, ends], axis=-1)
    if ends.shape != (num, 2) or not (np.isfinite(ends).all() and (ends[:, 0] < ends[:, 1]).all()):
        raise ValueError(
            "radius must be a positive number, or for each direction a positive number or a range "
            f"(low, high) with low < high, got {radius}"
        )
    return np.linspace(ends[:, 0], ends[:, 1], resolution, axis=1)


def _with_center(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.zeros((1, points.shape[1]))])


def _take_center(values: Any) -> tuple[Any, Any]:
    """(values at the points, value at the centre) of metrics at the points with the centre last."""
    return jax.tree.map(lambda x: x[:-1], values), jax.tree.map(lambda x: x[-1], values)
