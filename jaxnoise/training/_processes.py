"""Values that all processes have, on devices of all processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding


def put(tree: Any, sharding: NamedSharding) -> Any:
    """The tree on the sharding's devices, of one process or of several that all have the tree.

    Raises:
      ValueError: if the processes don't have the same values.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    leaves, structure = jax.tree.flatten(tree)
    kinds = [jax.random.key_impl(x) if _is_key(x) else None for x in leaves]
    plain = [jax.random.key_data(x) if _is_key(x) else x for x in leaves]
    ours = [x if _is_global(x) else np.asarray(jnp.asarray(x)) for x in plain]
    _check_same([x for x in ours if isinstance(x, np.ndarray)])
    found = [_put(x, sharding) for x in ours]
    found = [
        x if kind is None else jax.random.wrap_key_data(x, impl=kind)
        for x, kind in zip(found, kinds, strict=True)
    ]
    return jax.tree.unflatten(structure, found)


def in_the_first(action: Callable[[], Any]) -> None:
    """Does in the first of the processes what one of them is to do; all go on once it is done.

    Raises:
      OSError: in all processes, if the action raises one.
    """
    error = None
    if not jax.process_index():
        try:
            action()
        except OSError as raised:
            error = raised
    if jax.process_count() > 1:
        failed = multihost_utils.broadcast_one_to_all(np.array(error is not None))
        if failed and error is None:
            error = OSError("the first process has failed: its message says why")
    if error is not None:
        raise error


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if _is_global(x):
        return jax.device_put(x, sharding)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def _check_same(arrays: list[np.ndarray]) -> None:
    digest = hashlib.sha256()
    for x in arrays:
        digest.update(f"{x.shape} {x.dtype}".encode())
        digest.update(np.ascontiguousarray(x).data)
    found = multihost_utils.process_allgather(np.frombuffer(digest.digest(), np.uint8))
    if (found != found[0]).any():
        raise ValueError(
            "the processes were given different values: call fit with the same arguments in each"
        )


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _is_global(x: Any) -> bool:
    """Whether devices of other processes have a part of the array already."""
    return isinstance(x, jax.Array) and not x.is_fully_addressable
