"""How far a landscape depends on the draw of its directions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from .._checks import check_key, check_whole
from .._lock import held_file
from .._results import Result, check_place
from ._directions import FilterAxis, Ignore, Normalization, random_directions
from ._grid import LossGrid, Radius, over_plane


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LossGrids(Result):
    """Mean losses over several planes through the same parameters.

    `grids[k]` is the `LossGrid` of one plane; a loop goes over all of them. `mean` and `std` are
    such grids, too, so that everything that draws or writes a grid takes them.

    Attributes:
      alphas: (n,) rising coordinates along the first direction of each plane.
      betas: (n,) rising coordinates along the second direction of each plane.
      values: (num, n, n) mean losses, or a dict of such arrays.
      center: the mean loss at the parameters themselves, or a dict of such.
    """

    alphas: Any
    betas: Any
    values: Any
    center: Any

    @property
    def mean(self) -> LossGrid:
        """The mean over the planes; cells that are not finite in one of them are not finite."""
        return self._each(lambda x: x.mean(0), self.center)

    @property
    def std(self) -> LossGrid:
        """The standard deviation (num − 1 degrees of freedom) over the planes."""
        return self._each(lambda x: x.std(0, ddof=1), jax.tree.map(np.zeros_like, self.center))

    def _each(self, function: Callable, center: Any) -> LossGrid:
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is nan
            values = jax.tree.map(function, self.values)
        return LossGrid(self.alphas, self.betas, values, center)

    def __getitem__(self, k: int) -> LossGrid:
        return LossGrid(
            self.alphas, self.betas, jax.tree.map(lambda x: x[k], self.values), self.center
        )

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.values)[0])


def loss_grids(
    key: jax.Array,
    loss_fn: Callable,
    params: Any,
    data: Any,
    *,
    num: int = 5,
    normalization: Normalization = "filter_unit",
    ignore: Ignore = "bias_and_norm",
    filter_axis: FilterAxis = -1,
    radius: Radius = 0.5,
    resolution: int = 40,
    chunk_size: int | None = None,
    vmap_points: int | None = None,
    sharding: NamedSharding | None = None,
    path: str | os.PathLike | None = None,
    progress: bool = False,
) -> LossGrids:
    """The landscapes over several planes of random directions, by one compiled program.

    A picture of one random plane is one draw. The mean shows what the planes have in common, the
    standard deviation how much of it is chance. Plane k is that of
    `random_directions(jax.random.fold_in(key, k), params, …)`, whatever `num` is.

    Args:
      key: typed key.
      loss_fn, params, data: as for `loss_grid`.
      num: number of planes, at least 2.
      normalization, ignore, filter_axis: as for `random_directions`.
      radius, resolution, chunk_size, vmap_points, sharding, progress: as for `loss_grid`.
      path: file for the grids (.npz). What is done of each plane is kept in `path` + ".0.part" and
        so on, from which interrupted grids resume. One run at a time has it.

    Returns:
      `LossGrids`.

    Raises:
      TypeError: if key is no typed key.
      ValueError: if an argument is wrong, or what is kept belongs to other grids.
      OSError: if another run writes the same file, or it can't be written.

    References:
      Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018,
      section 5 (repeated draws).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: jnp.sum((batch["x"] @ w) ** 2, axis=1)
      >>> w, data = jnp.ones((3, 2)), {"x": jnp.eye(3)}
      >>> grids = jn.landscape.loss_grids(
      ...     jax.random.key(0), loss_fn, w, data, num=3, resolution=5)
      >>> grids.values.shape, grids.std.values.shape, float(grids.center)
      ((3, 5, 5), (5, 5), 2.0)
    """
    check_key(key)
    check_whole(num, "num")
    if num < 2:
        raise ValueError(f"num must be at least 2 for a spread, got {num}; see also loss_grid")
    drawn = {"normalization": normalization, "ignore": ignore, "filter_axis": filter_axis}
    options = (progress, radius, resolution, (chunk_size, vmap_points, sharding))
    if path is not None:
        check_place(Path(path))
    partials = [] if path is None else [Path(f"{path}.{k}.part") for k in range(num)]
    with contextlib.nullcontext() if path is None else held_file(path, "path"):
        grids = []
        for k in range(num):
            directions = random_directions(jax.random.fold_in(key, k), params, **drawn)
            partial = partials[k] if partials else None
            grids.append(over_plane(loss_fn, params, directions, data, partial, *options))
        values = jax.tree.map(lambda *planes: np.stack(planes), *(grid.values for grid in grids))
        result = LossGrids(grids[0].alphas, grids[0].betas, values, grids[0].center)
        if path is not None:
            result.save(path)
            for partial in partials:
                partial.unlink(missing_ok=True)
    return result
