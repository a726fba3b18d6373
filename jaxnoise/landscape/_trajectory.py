"""The plane that shows most of a trajectory through parameter space."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_numbers, check_whole
from .._tree import leaves_with_path, num_examples, path_name

_NUMBERS = 2**20  # in a block of columns
_SMALLEST = 1e-12  # of the largest eigenvalue; below it the second direction is rounding

Range = tuple[float, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TrajectoryPlane:
    """The plane that a trajectory lies closest to, and the trajectory in it.

    Attributes:
      directions: (u, v), orthonormal pytrees like one iterate; take them for `loss_grid`.
      coordinates: (T, 2) the projected iterates, (⟨w_t − w_c, u⟩, ⟨w_t − w_c, v⟩).
      explained_variance: (2,) the share of Σ_t ‖w_t − w_c‖² that lies along each direction.
    """

    directions: tuple[Any, Any]
    coordinates: Any
    explained_variance: Any

    def ranges(self, margin: float = 0.2) -> tuple[Range, Range]:
        """Ranges of α and β that hold the path, for `loss_grid(radius=…)`.

        Args:
          margin: how much to add at each end, in lengths of the range.

        Returns:
          ((α_0, α_1), (β_0, β_1)).

        Raises:
          ValueError: if margin is negative or not finite.

        Example:
          >>> import jax.numpy as jnp
          >>> import jaxnoise as jn
          >>> path = jnp.array([[4.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
          >>> jn.landscape.trajectory_plane(path).ranges(margin=0.25)
          ((-1.0, 5.0), (-0.25, 1.25))
        """
        check_numbers(margin, "margin")
        if not (np.isfinite(margin) and margin >= 0):
            raise ValueError(f"margin must be a number that is not negative, got {margin}")
        low, high = np.min(self.coordinates, axis=0), np.max(self.coordinates, axis=0)
        low, high = low - margin * (high - low), high + margin * (high - low)
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def trajectory_plane(trajectory: Any, *, center: int = -1) -> TrajectoryPlane:
    """The two directions along which a trajectory moves most, by PCA around one of its iterates.

    With the rows w_t − w_c of the matrix A (T, d) and its thin singular value decomposition
    A = P Σ Qᵀ, the directions are the first two columns of Q and the coordinates those of P Σ. The
    rows are differences to the iterate w_c, the last one as in Li et al., not to their mean: w_c is
    the origin of the plane and lies in it, so that the landscape around w_c is the one that the
    trajectory ends in. P and Σ come from A Aᵀ (T, T), which is summed in double precision on the
    host over blocks of columns, so that beside the directions no more than a block is copied.

    The plane holds most of the motion, not of the loss; and a random walk, too, is a smooth curve
    in its plane (Antognini & Sohl-Dickstein).

    Args:
      trajectory: the iterates w_0, w_1, …, T ≥ 3 of them: a list, tuple or iterator of pytrees, or
        one pytree whose leaves have a leading (T,), as from stacking.
      center: the iterate that is the origin, −1 for the last.

    Returns:
      `TrajectoryPlane`. The coordinate of largest magnitude along each direction is positive.

    Raises:
      TypeError: if a leaf is not real and floating.
      ValueError: if there are fewer than three iterates, they differ in structure or shapes, are
        not finite, are all equal, or lie on a line.

    References:
      Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018,
      section 7. Antognini, Sohl-Dickstein, "PCA of High Dimensional Random Walks with Comparison to
      Neural Network Training", 2018.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> path = {"w": jnp.array([[3.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, 0.0, 5.0]])}
      >>> plane = jn.landscape.trajectory_plane(path)
      >>> plane.coordinates.round(3)
      array([[3., 0.],
             [0., 1.],
             [0., 0.]])
      >>> plane.explained_variance
      array([0.9, 0.1])
      >>> loss_fn = lambda w, batch: batch["x"] * w["w"][2]
      >>> grid = jn.landscape.loss_grid(
      ...     loss_fn, {"w": path["w"][-1]}, plane.directions, {"x": jnp.ones(4)},
      ...     radius=plane.ranges(), resolution=3)
      >>> float(grid.center)
      5.0
    """
    structure, paths, leaves, count = _iterates(trajectory)
    check_whole(center, "center")
    if not -count <= center < count:
        raise ValueError(f"center must be one of the {count} iterates, got {center}")
    gram = np.zeros((count, count))
    for path, leaf in zip(paths, leaves, strict=True):
        for _, block in _differences(leaf, center):
            if not np.isfinite(block).all():
                raise ValueError(f"trajectory: {path_name(path) or 'it'} is not finite everywhere")
            gram += block @ block.T
    if not gram.any():
        raise ValueError("trajectory has nothing but equal iterates: there is no direction in it")
    eigenvalues, vectors = np.linalg.eigh(gram)
    squares, vectors = eigenvalues[:-3:-1], vectors[:, :-3:-1]
    if squares[1] <= _SMALLEST * squares[0]:
        raise ValueError("trajectory lies on a line: take loss_line along the difference of two")
    farthest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.sign(vectors[farthest, [0, 1]])
    pairs = [_combined(leaf, vectors / np.sqrt(squares), center) for leaf in leaves]
    u, v = (jax.tree.unflatten(structure, list(parts)) for parts in zip(*pairs, strict=True))
    coordinates = vectors * np.sqrt(squares)
    coordinates[center] = 0
    return TrajectoryPlane((u, v), coordinates, squares / np.trace(gram))


def _iterates(trajectory: Any) -> tuple[Any, list[tuple], list[Any], int]:
    """Tree structure of an iterate, paths of its leaves, each leaf at all iterates, and T."""
    if isinstance(trajectory, Iterator) or type(trajectory) in (list, tuple):
        trees = list(trajectory)
        count = len(trees)
        if len({jax.tree.structure(tree) for tree in trees}) > 1:
            raise ValueError("trajectory: all iterates must be pytrees of the same structure")
        leaves = [list(leaf) for leaf in zip(*map(jax.tree.leaves, trees), strict=True)]
        iterate = trees[0] if trees else ()
    else:
        count = num_examples(trajectory, "trajectory")
        leaves, iterate = jax.tree.leaves(trajectory), trajectory
    if count < 3:
        raise ValueError(f"trajectory must hold at least 3 iterates to span a plane, got {count}")
    paths = [path for path, _ in leaves_with_path(iterate)]
    for path, leaf in zip(paths, leaves, strict=True):
        name = path_name(path) or "it"
        if isinstance(leaf, list) and len(shapes := {np.shape(x) for x in leaf}) > 1:
            raise ValueError(f"trajectory: {name} has several shapes, {sorted(shapes)}")
        dtype = jnp.result_type(leaf[0])
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"trajectory must hold real floating arrays alone, but {name} is {dtype}"
            )
    return jax.tree.structure(iterate), paths, leaves, count


def _differences(leaf: Any, center: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of columns of a leaf's rows of A, (T, ·) in double precision, and where they lie."""
    iterates = leaf if isinstance(leaf, list) else np.asarray(leaf)
    rows = [np.reshape(x, -1) for x in map(np.asarray, iterates)]
    size = max(1, _NUMBERS // len(rows))
    for start in range(0, len(rows[0]), size):
        part = slice(start, start + size)
        block = np.stack([row[part] for row in rows]).astype(np.float64)
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is nan
            yield part, block - block[center]


def _combined(leaf: Any, weights: np.ndarray, center: int) -> list[jax.Array]:
    """Aᵀ weights for a leaf, (d,) each, in its own shape and precision."""
    shape, dtype = np.shape(leaf[0]), jnp.result_type(leaf[0])
    whole = np.empty((2, math.prod(shape)))
    for part, block in _differences(leaf, center):
        whole[:, part] = weights.T @ block
    return [jnp.asarray(row.reshape(shape), dtype) for row in whole]
