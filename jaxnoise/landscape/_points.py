"""Mean losses at points around the parameters: one program, blocks of points, resumable."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .._progress import Progress
from .._results import read_npz, write_npz
from .._streaming import (
    check_chunk_size,
    default_chunk_size,
    has_convolutions,
    mean_metrics,
    named,
)
from .._tree import as_partial, num_examples
from ._directions import check_like

_VMAP_POINTS = 8  # points side by side where the network is dense


class PointProgram:
    """The mean losses at w + Σ_k c_k d_k as a function of the coordinates c.

    Args:
      loss_fn: (params, batch) → losses (B,), or a dict of such metrics.
      params: w.
      directions: the d_k.
      data: batch of all examples.
      chunk_size, vmap_points, sharding: as for `loss_grid`.
    """

    def __init__(
        self,
        loss_fn: Callable,
        params: Any,
        directions: tuple[Any, ...],
        data: Any,
        chunk_size: int | None,
        vmap_points: int | None,
        sharding: NamedSharding | None,
    ):
        n = num_examples(data)
        check_chunk_size(chunk_size)
        check_chunk_size(vmap_points, "vmap_points")
        for direction in directions:
            check_like(direction, params, "direction")
        params, directions, data = jax.tree.map(jnp.asarray, (params, directions, data))
        loss_fn = as_partial(loss_fn)
        metrics = jax.eval_shape(loss_fn, params, data)
        for name, values in named(metrics).items():
            if getattr(values, "shape", None) != (n,):
                raise ValueError(
                    f"loss_fn must give one {name} per example, shape ({n},) here, got "
                    f"{getattr(values, 'shape', values)}: leave out the mean over examples"
                )
        if vmap_points is None:
            vmap_points = 1 if has_convolutions(loss_fn, params, data) else _VMAP_POINTS
        self._is_dict = isinstance(metrics, dict)
        self._inputs = (loss_fn, params, directions, data)
        self._options = {
            "chunk_size": chunk_size or default_chunk_size(data),
            "vmap_points": vmap_points,
            "sharding": sharding,
        }

    def __call__(self, points: np.ndarray) -> Any:
        """(N, K) coordinates → (N,) mean losses, or a dict of such, on the host."""
        return self._unname(jax.device_get(self._run(points)))

    def block_by_block(self, points: np.ndarray, size: int, path: Path, progress: bool) -> Any:
        """The same in blocks of `size` points; what is done is kept in the file `path`.

        Raises:
          ValueError: if the file there was written for something else.
        """
        identity = self._identity(points)
        blocks: dict[str, list[np.ndarray]] = {}
        if path.exists():
            kept = read_npz(path)
            if str(kept.pop("identity", "")) != identity:
                raise ValueError(
                    f"{path} holds the beginning of another grid: remove it, or give another path"
                )
            blocks = {name: [values] for name, values in kept.items()}
        done = sum(map(len, next(iter(blocks.values()), [])))
        padded = np.concatenate([points, np.zeros((-len(points) % size, points.shape[1]))])
        with Progress(len(padded), "landscape", "points", progress) as bar:
            bar.update(done)
            for start in range(done, len(padded), size):
                for name, values in jax.device_get(self._run(padded[start : start + size])).items():
                    blocks.setdefault(name, []).append(values)
                joined = {name: np.concatenate(values) for name, values in blocks.items()}
                write_npz(path, {"identity": np.array(identity), **joined})
                bar.update(size)
        return self._unname({k: np.concatenate(v)[: len(points)] for k, v in blocks.items()})

    def _run(self, points: np.ndarray) -> dict[str, jax.Array]:
        return _losses_at(*self._inputs, jnp.asarray(points, float), **self._options)

    def _unname(self, values: dict[str, np.ndarray]) -> Any:
        return values if self._is_dict else values["loss"]

    def _identity(self, points: np.ndarray) -> str:
        """A digest of all that the values depend on."""
        digest = hashlib.sha256(str(jax.tree.structure(self._inputs[1:])).encode())
        for leaf in jax.tree.leaves((self._inputs, points)):
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                digest.update(f"{leaf.shape} {leaf.dtype}".encode())
                digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()


@functools.partial(jax.jit, static_argnames=("chunk_size", "vmap_points", "sharding"))
def _losses_at(
    loss_fn, params, directions, data, points, *, chunk_size, vmap_points, sharding
) -> dict[str, jax.Array]:
    def at(point, loss_fn, params, directions, data):
        def shift(w, *slopes):
            steps = (c.astype(w.dtype) * d for c, d in zip(point, slopes, strict=True))
            return sum(steps, w)

        shifted = jax.tree.map(shift, params, *directions)
        return mean_metrics(functools.partial(loss_fn, shifted), data, chunk_size)

    def at_all(points, *inputs):
        batch_size = vmap_points if vmap_points > 1 else None
        return jax.lax.map(lambda point: at(point, *inputs), points, batch_size=batch_size)

    inputs = (loss_fn, params, directions, data)
    if sharding is None:
        return at_all(points, *inputs)
    axes = sharding.spec[0]
    names = axes if isinstance(axes, tuple) else (axes,)
    devices = math.prod(sharding.mesh.shape[name] for name in names)
    padded = jnp.pad(points, ((0, -len(points) % devices), (0, 0)))
    spread = jax.shard_map(
        at_all,
        mesh=sharding.mesh,
        in_specs=(PartitionSpec(axes), *(PartitionSpec() for _ in inputs)),
        out_specs=PartitionSpec(axes),
        check_vma=False,
    )
    values = spread(padded, *inputs)
    return {name: value[: len(points)] for name, value in values.items()}
