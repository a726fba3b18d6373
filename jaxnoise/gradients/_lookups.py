"""Gradients of tables from which rows are taken by index, never formed.

An embedding that is asked for the rows k_1 … k_T, with cotangents δ_t of what it gives, has the
gradient whose row k is Σ_{t: k_t = k} δ_t and whose other rows are zero.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import GatherScatterMode

from .._tree import common_dtype, wide
from ._taps import Record, Use


@dataclasses.dataclass(frozen=True)
class Lookups:
    """A use that takes T of a table's K rows of D numbers; `clipped` indices are brought inside."""

    positions: int
    rows: int
    outputs: int
    clipped: bool

    def suits(self, summed: bool, shifted: bool) -> bool:
        """Whether this costs less than to form the gradients, example by example."""
        del summed, shifted
        return self.positions**2 < self.rows * self.outputs

    def squared_norms(self, record: Record, use: int) -> jax.Array:
        """Σ_k ‖Σ_{t: k_t = k} δ_t‖² of each example, (B,)."""
        return jax.vmap(_squares)(*self._read(record, use))

    def squared_distances(self, record: Record, use: int, center: jax.Array) -> jax.Array:
        """Squared norms of the gradients minus `center`, row by row."""
        center = wide(center)
        return jax.vmap(lambda k, d: _squares(k, d, center))(*self._read(record, use))

    def squared_differences(self, record: Record, minus: Record, use: int) -> jax.Array:
        """Squared norms of the gradients minus those of another record."""
        indices, d = self._read(record, use)
        other_indices, other_d = self._read(minus, use)
        return jax.vmap(_squares)(
            jnp.concatenate([indices, other_indices], axis=1),
            jnp.concatenate([d, -other_d], axis=1),
        )

    def weighted_sum(self, record: Record, use: int, weights: jax.Array) -> jax.Array:
        """The table of Σ w_i Σ_{t: k_t = k} δ_t."""
        indices, d = self._read(record, use)
        d = d * weights.astype(d.dtype)[:, None, None]
        return jnp.zeros((self.rows, self.outputs), d.dtype).at[indices].add(d, mode="drop")

    def _read(self, record: Record, use: int) -> tuple[jax.Array, jax.Array]:
        """Indices (B, T), those outside of the table beyond its end, and cotangents (B, T, D)."""
        (indices,), (cotangent,) = record.others[use], record.cotangents[use]
        indices = indices.reshape(-1, self.positions)
        indices = indices.astype(common_dtype(indices.dtype, jnp.int32))
        if self.clipped:
            indices = jnp.clip(indices, 0, self.rows - 1)
        is_inside = (indices >= 0) & (indices < self.rows)
        cotangent = wide(cotangent).reshape(-1, self.positions, self.outputs)
        counted = is_inside[..., None].astype(cotangent.dtype)
        return jnp.where(is_inside, indices, self.rows), cotangent * counted


def _squares(indices: jax.Array, d: jax.Array, center: jax.Array | None = None) -> jax.Array:
    """The squared norm of one example's gradient, minus `center` where given."""
    same = indices[:, None] == indices
    sums = same.astype(d.dtype) @ d
    if center is None:
        return jnp.maximum(jnp.sum(sums * d), 0)
    is_first = ~jnp.any(jnp.tril(same, -1), axis=1)
    taken = jnp.sum(jnp.square(sums - center.at[indices].get(mode="fill", fill_value=0)), axis=1)
    untouched = jnp.ones(len(center), bool).at[indices].set(False, mode="drop")
    rest = jnp.sum(jnp.square(center), axis=1)
    return jnp.sum(taken, where=is_first) + jnp.sum(rest, where=untouched)


def lookups(use: Use) -> Lookups | None:
    """The use read as a lookup of whole rows, if it is one."""
    equation: Any = use.equation
    if equation.primitive.name != "gather" or equation.invars[0] is not use.values[0]:
        return None
    table, indices = (v.aval for v in equation.invars)
    numbers, result = equation.params["dimension_numbers"], equation.outvars[0].aval
    takes_rows = (
        table.ndim == 2
        and tuple(equation.params["slice_sizes"]) == (1, table.shape[1])
        and tuple(numbers.collapsed_slice_dims) == tuple(numbers.start_index_map) == (0,)
        and tuple(numbers.offset_dims) == (result.ndim - 1,)
        and not numbers.operand_batching_dims
    )
    if not takes_rows:
        return None
    clipped = equation.params["mode"] == GatherScatterMode.CLIP
    rows, outputs = table.shape
    return Lookups(math.prod(indices.shape[:-1]), rows, outputs, clipped)
