"""Work spread over a mesh of devices along a leading axis: points, examples, windows, runs."""

from __future__ import annotations

import math
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec


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


def num_shards(sharding: NamedSharding) -> int:
    """The number of parts that the leading axis is split into."""
    axes = sharding.spec[0]
    return math.prod(sharding.mesh.shape[n] for n in (axes if isinstance(axes, tuple) else [axes]))


def put_everywhere(tree: Any, sharding: NamedSharding) -> Any:
    """The tree with a copy of every leaf on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(sharding.mesh, PartitionSpec()))
