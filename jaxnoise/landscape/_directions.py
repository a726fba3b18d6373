"""Random directions in parameter space, normalised filter by filter or otherwise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_count, check_floating, check_key, check_whole, shown
from .._tree import all_finite, common_dtype, is_concrete, leaves_with_path, path_name, wide

Normalization = Literal["filter_unit", "filter", "layer_unit", "layer", "weight"] | None
Ignore = Literal["bias_and_norm"] | None
FilterAxis = int | Callable[[tuple, jax.Array], int]


def random_directions(
    key: jax.Array,
    params: Any,
    *,
    num: int = 2,
    normalization: Normalization = "filter_unit",
    ignore: Ignore = "bias_and_norm",
    filter_axis: FilterAxis = -1,
) -> tuple[Any, ...]:
    """Gaussian directions, normalised against the parameters.

    Args:
      key: typed key.
      params: pytree of floating arrays.
      num: number of directions.
      normalization, ignore, filter_axis: as for `normalize_direction`.

    Returns:
      `num` pytrees like `params`.

    Raises:
      TypeError: if key is no typed key.
      ValueError: if an option is unknown, or a direction comes out all zero.

    References:
      Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018,
      section 4. Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully
      Convolutional Networks", 2019, algorithm 1 (unit filters).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
      >>> u, v = jn.landscape.random_directions(jax.random.key(0), params)
      >>> jnp.linalg.norm(u["kernel"], axis=0).round(3), u["bias"]
      (Array([1., 1.], dtype=float32), Array([0., 0.], dtype=float32))
    """
    check_key(key)
    check_count(num, "num")
    check_floating(params, "params")
    params = jax.tree.map(jnp.asarray, params)
    return tuple(
        normalize_direction(
            _gaussian(own, params),
            params,
            normalization=normalization,
            ignore=ignore,
            filter_axis=filter_axis,
        )
        for own in jax.random.split(key, num)
    )


def normalize_direction(
    direction: Any,
    params: Any,
    *,
    normalization: Normalization = "filter_unit",
    ignore: Ignore = "bias_and_norm",
    filter_axis: FilterAxis = -1,
) -> Any:
    """Normalises a direction d against the parameters w, leaf by leaf.

    With d_f, w_f the slices (filters) along the filter axis of a leaf:

        "filter_unit"   d_f / ‖d_f‖           "filter"   d_f ‖w_f‖ / ‖d_f‖
        "layer_unit"    d / ‖d‖               "layer"    d ‖w‖ / ‖d‖
        "weight"        d ∘ w                 None       d

    A slice of zero norm stays zero. Biases and parameters of normalisation layers (leaves of at
    most one axis, and those called "bias" whatever their shape) become zero with
    `ignore="bias_and_norm"`; with None they become the parameters themselves, so that the direction
    scales them, as in the code of Li et al.

    Args:
      direction: pytree like `params`.
      params: pytree of floating arrays.
      normalization: one of the names above. "filter" makes landscapes of networks of different
        scale comparable; unit norms do not.
      ignore: "bias_and_norm" or None.
      filter_axis: the axis that counts the filters, or a function of (key path, leaf) that gives
        it. Flax kernels have it last; PyTorch's and Equinox' have it first.

    Returns:
      A pytree like `params`.

    Raises:
      ValueError: if an option is unknown, or the direction comes out all zero.

    References:
      Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018,
      section 4.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> kernel = jnp.array([[3.0, 0.0], [4.0, 2.0]])
      >>> jn.landscape.normalize_direction(kernel, kernel, normalization="filter_unit")
      Array([[0.6, 0. ],
             [0.8, 1. ]], dtype=float32)
    """
    known = ("filter_unit", "filter", "layer_unit", "layer", "weight", None)
    if normalization not in known:
        raise ValueError(f"normalization must be one of {known}, got {normalization!r}")
    if ignore not in ("bias_and_norm", None):
        raise ValueError(f"ignore must be 'bias_and_norm' or None, got {ignore!r}")
    if not (callable(filter_axis) or isinstance(filter_axis, int)):
        raise TypeError(
            f"filter_axis must be an axis, or a function of (path, leaf), got {shown(filter_axis)}"
        )
    check_like(direction, params, "direction")
    direction, params = jax.tree.map(jnp.asarray, (direction, params))
    normalized = _normalize(direction, params, normalization, ignore, filter_axis)
    if is_concrete(normalized) and not any(np.any(leaf) for leaf in jax.tree.leaves(normalized)):
        raise ValueError(
            "the direction is zero everywhere: every leaf is a bias, a normalisation parameter or "
            "zero; try ignore=None"
        )
    if is_concrete(normalized) and not np.all(all_finite(normalized)):
        raise ValueError("the direction is not finite: look for non-finite parameters")
    return normalized


@jax.jit
def _gaussian(key: jax.Array, params: Any) -> Any:
    """Drawn as one vector: a draw for each leaf would take half a minute to compile for a U-Net."""
    leaves, structure = jax.tree.flatten(params)
    if not leaves:
        return params
    dtype = functools.reduce(common_dtype, [leaf.dtype for leaf in leaves])
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), dtype), ends[:-1])
    pairs = zip(parts, leaves, strict=True)
    return jax.tree.unflatten(structure, [d.reshape(w.shape).astype(w.dtype) for d, w in pairs])


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _normalize(
    direction: Any,
    params: Any,
    normalization: Normalization,
    ignore: Ignore,
    filter_axis: FilterAxis,
) -> Any:
    def one_leaf(path: tuple, d: jax.Array, w: jax.Array) -> jax.Array:
        if d.ndim <= 1 or path_name(path[-1:]) == "bias":
            return jnp.zeros_like(d) if ignore else w
        if normalization is None:
            return d
        if normalization == "weight":
            return d * w
        if normalization.startswith("layer"):
            axes = tuple(range(d.ndim))
        else:
            axis = filter_axis if isinstance(filter_axis, int) else filter_axis(path, w)
            check_whole(axis, "filter_axis")
            if not -d.ndim <= axis < d.ndim:
                raise ValueError(f"filter_axis {axis} is no axis of {path_name(path)} {d.shape}")
            axes = tuple(i for i in range(d.ndim) if i != axis % d.ndim)
        unit = d / _nonzero(_norm(d, axes))
        return unit if normalization.endswith("unit") else unit * _norm(w, axes)

    return jax.tree_util.tree_map_with_path(one_leaf, direction, params)


def check_like(direction: Any, params: Any, name: str) -> None:
    """Raises unless a direction has the tree structure and shapes of the parameters."""
    if jax.tree.structure(direction) != jax.tree.structure(params):
        raise ValueError(f"{name} must be a pytree of the same structure as params")
    pairs = zip(leaves_with_path(direction), jax.tree.leaves(params), strict=True)
    for (path, d), w in pairs:
        if jnp.shape(d) != jnp.shape(w):
            found = f"{jnp.shape(d)} against {jnp.shape(w)}"
            raise ValueError(f"{name} {path_name(path)} differs in shape from params: {found}")


def _norm(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    finer = wide(x)  # squares overflow float16 …
    largest = jnp.max(jnp.abs(finer), axis=axes, keepdims=True, initial=0)  # … and float32
    squares = jnp.square(finer / _nonzero(largest))
    return (largest * jnp.sqrt(jnp.sum(squares, axis=axes, keepdims=True))).astype(x.dtype)


def _nonzero(norm: jax.Array) -> jax.Array:
    return jnp.where(norm == 0, 1, norm)
