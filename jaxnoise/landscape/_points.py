"""Mean losses at points around the parameters: one program, blocks of points, resumable."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .._checks import as_arrays, check_floating
from .._progress import Progress
from .._results import read_npz, write_npz
from .._sharding import as_on_one_device, leading, num_shards, on_host, put_everywhere
from .._streaming import (
    check_chunk_size,
    default_chunk_size,
    has_convolutions,
    named,
    sum_examples,
    weighted_sums,
)
from .._tree import as_partial, num_examples
from ._affine import around
from ._directions import check_like

_VMAP_POINTS = 8  # points side by side on an accelerator where the network is dense


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
        self._sharding = leading(sharding, "points")
        check_floating(params, "params")
        params, directions = jax.tree.map(jnp.asarray, (params, directions))
        data = as_arrays(data, "data")
        loss_fn = as_partial(loss_fn)
        metrics = jax.eval_shape(loss_fn, params, data)
        if not named(metrics):
            raise ValueError("loss_fn gives an empty dict: give at least one metric per example")
        for name, values in named(metrics).items():
            if getattr(values, "shape", None) != (n,):
                raise ValueError(
                    f"loss_fn must give one {name} per example, shape ({n},) here, got "
                    f"{getattr(values, 'shape', values)}: leave out the mean over examples"
                )
        if vmap_points is None:
            alone = jax.default_backend() == "cpu" or has_convolutions(loss_fn, params, data)
            vmap_points = 1 if alone else _VMAP_POINTS
        self._is_dict = isinstance(metrics, Mapping)
        self._inputs = (loss_fn, params, directions, data)
        if self._sharding is not None:
            self._inputs = put_everywhere(self._inputs, self._sharding)
        self._options = {
            "chunk_size": chunk_size or default_chunk_size(data),
            "vmap_points": vmap_points,
            "sharding": self._sharding,
        }

    def __call__(self, points: np.ndarray) -> Any:
        """(N, K) coordinates → (N,) mean losses, or a dict of such, on the host."""
        return self._unname(self._run(points))

    def block_by_block(
        self, points: np.ndarray, size: int, path: Path | None, progress: bool
    ) -> Any:
        """The same in blocks of `size` points; what is done is kept in the file `path`, if any.

        Raises:
          ValueError: if the file there was written for something else.
        """
        identity = "" if path is None else self._identity(points)
        blocks: dict[str, list[np.ndarray]] = {}
        if path is not None and path.exists():
            kept = read_npz(path)
            if str(kept.pop("identity", "")) != identity:
                raise ValueError(
                    f"{path} holds the beginning of another grid: remove it, or give another path"
                )
            blocks = {name.removeprefix("values/"): [values] for name, values in kept.items()}
        done = sum(map(len, next(iter(blocks.values()), [])))
        padded = np.concatenate([points, np.zeros((-len(points) % size, points.shape[1]))])
        with Progress(len(padded), "landscape", "points", progress) as bar:
            bar.update(done)
            for start in range(done, len(padded), size):
                for name, values in self._run(padded[start : start + size]).items():
                    blocks.setdefault(name, []).append(values)
                if path is not None:
                    joined = {f"values/{k}": np.concatenate(v) for k, v in blocks.items()}
                    write_npz(path, {"identity": np.array(identity), **joined})
                bar.update(size)
        return self._unname({k: np.concatenate(v)[: len(points)] for k, v in blocks.items()})

    def _run(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Mean losses by name, (N,), on the host."""
        coordinates = jnp.asarray(points, float)
        if self._sharding is not None:
            surplus = -len(points) % num_shards(self._sharding)
            coordinates = jnp.pad(coordinates, ((0, surplus), (0, 0)))
            coordinates = jax.device_put(coordinates, self._sharding)
        values = jax.tree.map(on_host, _losses_at(*self._inputs, coordinates, **self._options))
        return {name: value[: len(points)] for name, value in values.items()}

    def _unname(self, values: dict[str, np.ndarray]) -> Any:
        return values if self._is_dict else values["loss"]

    def _identity(self, points: np.ndarray) -> str:
        """A digest of all that the values depend on, the program of the loss included."""
        loss_fn, params, directions, data = self._inputs
        program, metrics = jax.make_jaxpr(loss_fn, return_shape=True)(params, data)
        text = f"{program.jaxpr} {metrics}"
        digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", text).encode())
        for leaf in jax.tree.leaves((params, directions, data, points, program.consts)):
            is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            numbers = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
            digest.update(f"{numbers.shape} {numbers.dtype}".encode())
            digest.update(numbers.tobytes())
        return digest.hexdigest()


@functools.partial(jax.jit, static_argnames=("chunk_size", "vmap_points", "sharding"))
def _losses_at(
    loss_fn, params, directions, data, points, *, chunk_size, vmap_points, sharding
) -> dict[str, jax.Array]:
    def at_all(points, loss_fn, params, directions, data):
        def sums(chunk, weights):
            metrics_at = around(loss_fn, params, directions, chunk)
            return jax.lax.map(
                lambda point: weighted_sums(metrics_at(point), weights),
                points,
                batch_size=vmap_points if vmap_points > 1 else None,
            )

        totals = sum_examples(sums, data, chunk_size)
        return {name: total / num_examples(data) for name, total in totals.items()}

    def at_own(points, *inputs):
        with as_on_one_device():
            return at_all(points, *inputs)

    inputs = (loss_fn, params, directions, data)
    if sharding is None:
        return at_all(points, *inputs)
    spread = jax.shard_map(
        at_own,
        mesh=sharding.mesh,
        in_specs=(sharding.spec, *(PartitionSpec() for _ in inputs)),
        out_specs=sharding.spec,
        check_vma=False,
    )
    return spread(points, *inputs)
