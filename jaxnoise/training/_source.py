"""What differs between data in memory and a stream of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from .._checks import as_arrays
from .._tree import num_examples
from ..data import Stream
from ._devices import placed
from ._epoch import run_epoch, run_evaluation
from ._stream import stream_epoch, stream_evaluation


def length_of(data: Any, name: str = "data") -> int:
    """The number of examples, of which there are some."""
    if not isinstance(data, Stream):
        return num_examples(data, name)
    if not len(data):
        raise ValueError(f"{name} holds no examples")
    return len(data)


def on_device(data: Any, sharding: NamedSharding | None, name: str = "data") -> Any:
    """Arrays on the device, or on every one; a stream stays where it is."""
    return data if isinstance(data, Stream) else placed(as_arrays(data, name), sharding)


def batch_like(data: Any, batch_size: int) -> Any:
    """A batch as training sees it, or the shapes of one."""
    if not isinstance(data, Stream):
        return jax.tree.map(lambda x: x[:batch_size], data)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), x.dtype),
        jax.tree.map(jnp.asarray, data.read([0])),
    )


def programs_for(data: Any) -> tuple[Callable, Callable]:
    """What trains for an epoch, and what evaluates."""
    is_stream = isinstance(data, Stream)
    return (stream_epoch, stream_evaluation) if is_stream else (run_epoch, run_evaluation)
