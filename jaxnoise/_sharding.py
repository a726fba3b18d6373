"""Work spread over a mesh of devices along a leading axis: points, examples, windows, runs."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from ._tree import is_concrete


def leading(sharding: NamedSharding | None, what: str) -> NamedSharding | None:
    """The sharding of a leading axis alone; `what` is spread along it.

    Raises:
      ValueError: if it is no `NamedSharding` that names a mesh axis for the leading axis.
    """
    if sharding is None:
        return None
    if not (isinstance(sharding, NamedSharding) and sharding.spec and sharding.spec[0]):
        raise ValueError(
            f"sharding must be a NamedSharding that names a mesh axis for the {what}, as in "
            f"NamedSharding(mesh, PartitionSpec('{what}')), got {sharding}"
        )
    return NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0]))


def automatic(sharding: NamedSharding) -> NamedSharding:
    """The sharding on a mesh whose axes are all `Auto`: XLA, not types, says how arrays spread."""
    mesh: Any = sharding.mesh
    kinds = (AxisType.Auto,) * len(mesh.axis_names)
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names, axis_types=kinds), sharding.spec)


def check_outside(*trees: Any) -> None:
    """Raises if there are tracers: inside of a transformation nothing can be put on devices."""
    if not is_concrete(*trees):
        raise ValueError(
            "sharding puts arrays on devices, which works only outside of transformations such as "
            "jax.jit: call the function outside, or leave sharding out"
        )


def num_shards(sharding: NamedSharding) -> int:
    """The number of parts that the leading axis is split into."""
    axes = sharding.spec[0]
    return math.prod(sharding.mesh.shape[n] for n in (axes if isinstance(axes, tuple) else [axes]))


def put_everywhere(tree: Any, sharding: NamedSharding) -> Any:
    """The tree with a copy of every leaf on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(sharding.mesh, PartitionSpec()))


def on_host(x: Any) -> np.ndarray:
    """The values; of an array that other processes hold parts of, all of them call this."""
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        sharding: Any = x.sharding
        x = put_everywhere(x, sharding)
    return np.asarray(x)


def put_spread(tree: Any, sharding: NamedSharding) -> Any:
    """The tree with the leading axis of every leaf spread over the mesh.

    Where its length is no multiple of the number of parts, the last entry is repeated. No device
    ever holds more than its part.
    """

    def put(leaf: Any) -> jax.Array:
        leaf = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        surplus = -len(leaf) % num_shards(sharding)
        if not surplus:
            return jax.device_put(leaf, sharding)
        rows = np.minimum(np.arange(len(leaf) + surplus), len(leaf) - 1)

        def part(index: Any) -> Any:
            return leaf[rows[index[0]]]

        return jax.make_array_from_callback((len(rows), *leaf.shape[1:]), sharding, part)

    return jax.tree.map(put, tree)


def as_on_one_device() -> contextlib.AbstractContextManager[Any]:
    """Inside of `shard_map`, what a device does is traced as if there were no mesh around it.

    Our convolution, for one, leaves arrays that a mesh types to XLA's own.
    """
    return jax.sharding.use_abstract_mesh(AbstractMesh((), ()))


@functools.partial(jax.jit, static_argnames=("count", "sharding"))
def first(tree: Any, count: int, sharding: NamedSharding) -> Any:
    """The first entries along the leading axis of a spread tree, on every device of the mesh."""

    def of_share(tree: Any) -> Any:
        def gathered(leaf: jax.Array) -> jax.Array:
            return jax.lax.all_gather(leaf[:count], sharding.spec[0], tiled=True)[:count]

        return jax.tree.map(gathered, tree)

    return jax.shard_map(
        of_share,
        mesh=sharding.mesh,
        in_specs=sharding.spec,
        out_specs=PartitionSpec(),
        check_vma=False,
    )(tree)


def gather(tree: Any) -> Any:
    """A tree from several devices on the default one, and bound to none."""
    return jax.tree.map(lambda x: jnp.asarray(on_host(x)), tree)
