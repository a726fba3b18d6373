"""Training that is spread over devices: the examples of each batch, or the replicas."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .._sharding import automatic, leading, num_shards
from ..schedules import NoiseStage
from ._processes import put


def spread_of(
    sharding: NamedSharding | None, stages: Sequence[NoiseStage], replicas: int | None
) -> NamedSharding | None:
    """The sharding of each batch along its examples, or of all that has the replicas' axis.

    Raises:
      ValueError: if it names no mesh axis, or the parts would not be equal.
    """
    found = leading(sharding, "batch" if replicas is None else "replicas")
    if found is None:
        return None
    parts, sizes = num_shards(found), [("batch_size", stage.batch_size) for stage in stages]
    for name, size in sizes if replicas is None else [("replicas", replicas)]:
        if size % parts:
            raise ValueError(f"{name} {size} must be a multiple of sharding's {parts} parts")
    return automatic(found)


def context(sharding: NamedSharding | None) -> contextlib.AbstractContextManager[Any]:
    """In which the sharding's mesh takes the place of the one that the caller has set, if any."""
    no_mesh_is_set = jax.sharding.get_abstract_mesh().empty
    if sharding is None or no_mesh_is_set:
        return contextlib.nullcontext()
    mesh: Any = sharding.mesh
    return jax.set_mesh(mesh)


def placed(tree: Any, sharding: NamedSharding | None, replicas: int | None = None) -> Any:
    """The tree on all devices, each with all of it, or with its part of the replicas."""
    if sharding is None:
        return tree
    return put(tree, _whole(sharding) if replicas is None else sharding)


def spread(tree: Any, sharding: NamedSharding | None) -> Any:
    """Within a program, the tree spread along its leading axis."""
    return tree if sharding is None else jax.lax.with_sharding_constraint(tree, sharding)


def everywhere(tree: Any, sharding: NamedSharding | None) -> Any:
    """Within a program, the tree on every device."""
    return tree if sharding is None else spread(tree, _whole(sharding))


def _whole(sharding: NamedSharding) -> NamedSharding:
    return NamedSharding(sharding.mesh, PartitionSpec())


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of an axis that devices hold, of arrays that each process reads its own part of.

    Attributes:
      sharding: of the arrays; None leaves them whole on one device.
      axis: the one that is spread.
      length: its length.
    """

    sharding: NamedSharding | None
    axis: int
    length: int

    @classmethod
    def along(cls, sharding: NamedSharding | None, axis: int, length: int) -> Parts:
        """Of the axis of this number and length, spread as the sharding's leading one."""
        if sharding is not None:
            spec = PartitionSpec(*[None] * axis, sharding.spec[0])
            sharding = NamedSharding(sharding.mesh, spec)
        return cls(sharding, axis, length)

    @classmethod
    def whole(cls, sharding: NamedSharding | None, length: int) -> Parts:
        """Of a leading axis that is on every device of the sharding's mesh."""
        return cls(None if sharding is None else _whole(sharding), 0, length)

    def own(self, x: np.ndarray) -> np.ndarray:
        """What this process's devices hold of the array."""
        return x.take(self._positions(), self.axis)

    def put(self, own: np.ndarray) -> jax.Array:
        """The whole array on the devices, of which this process has such a part."""
        if self.sharding is None:
            return jnp.asarray(own)
        positions = self._positions()

        def on_one_device(index: Any) -> np.ndarray:
            span = index[self.axis].indices(self.length)[:2]
            first, last = np.searchsorted(positions, span)
            return own[(*index[: self.axis], slice(first, last))]

        shape = (*own.shape[: self.axis], self.length, *own.shape[self.axis + 1 :])
        dtype = jax.dtypes.canonicalize_dtype(own.dtype)
        return jax.make_array_from_callback(shape, self.sharding, on_one_device, dtype=dtype)

    def _positions(self) -> np.ndarray:
        """Along the axis, in order, those on devices of this process."""
        if self.sharding is None:
            return np.arange(self.length)
        shape = (1,) * self.axis + (self.length,)
        held = self.sharding.addressable_devices_indices_map(shape).values()
        spans = [index[self.axis].indices(self.length) for index in held if index is not None]
        return np.unique(np.concatenate([np.arange(*span) for span in spans]))
