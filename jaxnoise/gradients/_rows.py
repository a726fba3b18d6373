"""Gradients that are a product of two small matrices per example, never formed.

A dense layer, used at T positions, and a convolution, whose positions see patches, have gradients

    g = AᵀΔ,   A: (T, p) what the kernel meets,   Δ: (T, D) cotangents of what it gives,

so ‖g‖² = Σ_{s,t} (AAᵀ)_{st} (ΔΔᵀ)_{st}: two T×T matrices take the place of one of p×D.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._convolution import patches
from .._tree import wide
from ._taps import Record, Use

# Forming, squaring and adding up one number costs about as much as so many multiplications do
# inside a matrix product.
_NUMBER = 16


@dataclasses.dataclass(frozen=True)
class Rows:
    """A use whose gradient is AᵀΔ.

    Attributes:
      positions, inputs, outputs: T, p and D.
      rows_of_one: (other operand, cotangent) of one example → (A, Δ).
      matrix: value → its entries as (p, D).
      value: the inverse of `matrix`; None where A would have to be made first.
    """

    positions: int
    inputs: int
    outputs: int
    rows_of_one: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    matrix: Callable[[jax.Array], jax.Array]
    value: Callable[[jax.Array], jax.Array] | None = None

    def suits(self, summed: bool, shifted: bool) -> bool:
        """Whether this costs less than to form the gradients, example by example."""
        t, p, d = self.positions, self.inputs, self.outputs
        product, gram = t * p * d, t * t * (p + d)
        own = 3 * gram + product if shifted else gram
        return own + (product if summed else 0) < product + _NUMBER * p * d

    def squared_norms(self, record: Record, use: int) -> jax.Array:
        """‖AᵀΔ‖² of each example, (B,)."""
        a, d = self._rows(record, use)
        return _nonnegative(_product(_gram(a, a), _gram(d, d)))

    def squared_distances(self, record: Record, use: int, center: jax.Array) -> jax.Array:
        """‖AᵀΔ − M‖², accurate where all examples are nearly alike.

        With the chunk's means Ā and Δ̄ and what is left, U = A − Ā and V = Δ − Δ̄,

            AᵀΔ − M = ĀᵀV + UᵀΔ − (M − ĀᵀΔ̄),

        whose terms are all small where the examples are nearly alike.
        """
        a, d = self._rows(record, use)
        mean_a, mean_d = jnp.mean(a, 0), jnp.mean(d, 0)
        u, v = a - mean_a, d - mean_d
        rest = wide(self.matrix(center)) - _matmul(mean_a.T, mean_d)
        middle = _matmul(mean_a, rest)
        cross = jnp.sum(middle * v, (1, 2)) + jnp.sum((_matmul(a, rest) - middle) * d, (1, 2))
        squares = _squares(mean_a[None], v, u, d)
        return _nonnegative(squares - 2 * cross + jnp.sum(jnp.square(rest)))

    def squared_differences(self, record: Record, minus: Record, use: int) -> jax.Array:
        """‖AᵀΔ − A'ᵀΔ'‖² = ‖Aᵀ(Δ − Δ') + (A − A')ᵀΔ'‖², accurate where the two are nearly alike."""
        a, d = self._rows(record, use)
        other_a, other_d = self._rows(minus, use)
        return _nonnegative(_squares(a, d - other_d, a - other_a, other_d))

    def weighted_sum(self, record: Record, use: int, weights: jax.Array) -> jax.Array | None:
        """Σ w_i A_iᵀΔ_i, shaped like the value, as one product of long matrices."""
        if self.value is None:
            return None
        a, d = self._rows(record, use)
        d = d * weights.astype(d.dtype)[:, None, None]
        a, d = a.reshape(-1, self.inputs), d.reshape(-1, self.outputs)
        return self.value(jax.lax.dot_general(a, d, (((0,), (0,)), ((), ()))))

    def _rows(self, record: Record, use: int) -> tuple[jax.Array, jax.Array]:
        (other,), (cotangent,) = record.others[use], record.cotangents[use]
        a, d = jax.vmap(self.rows_of_one)(other, cotangent)
        return wide(a), wide(d)


def _squares(a: jax.Array, v: jax.Array, u: jax.Array, d: jax.Array) -> jax.Array:
    """‖AᵀV + UᵀD‖² of each example."""
    squares = _product(_gram(a, a), _gram(v, v)) + _product(_gram(u, u), _gram(d, d))
    return squares + 2 * _product(_gram(a, u), _gram(v, d))


def _gram(x: jax.Array, y: jax.Array) -> jax.Array:
    """XYᵀ of each example, (B, T, T)."""
    return jnp.sum(x * y, -1)[..., None] if x.shape[1] == 1 else _matmul(x, y.swapaxes(1, 2))


def _matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    """In full precision on accelerators, too: differences are taken of what it gives."""
    return jnp.matmul(x, y, precision="highest")


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.sum(x * y, (1, 2))


def _nonnegative(x: jax.Array) -> jax.Array:
    """Without what rounding leaves below zero; NaN stays."""
    return jnp.where(x < 0, 0, x)


def rows(use: Use) -> Rows | None:
    """The use read as rows, if it is a matrix product with the value or a convolution by it."""
    equation, name = use.equation, use.equation.primitive.name
    if len(use.others) != 1 or len(equation.invars) != 2 or _is_complex(use):
        return None
    if name == "dot_general" and not equation.params["dimension_numbers"][1][0]:
        return _of_product(use)
    is_kernel = equation.invars[1] is use.values[0]
    if name == "convolution_map" and is_kernel and equation.params["result"] != "kernel":
        return _of_convolution(equation)
    return None


def _is_complex(use: Use) -> bool:
    variables: list[Any] = [*use.equation.invars, *use.equation.outvars]
    return any(jnp.issubdtype(v.aval.dtype, jnp.complexfloating) for v in variables)


def _of_product(use: Use) -> Rows:
    equation: Any = use.equation
    value: Any = use.values[0]
    other: Any = use.others[0]
    contracted, second = equation.params["dimension_numbers"][0], equation.invars[1] is value
    along, own = contracted if second else contracted[::-1]
    free = [i for i in range(other.aval.ndim) if i not in along]
    own_free = [i for i in range(value.aval.ndim) if i not in own]
    positions = math.prod(other.aval.shape[i] for i in free)
    inputs = math.prod(other.aval.shape[i] for i in along)
    outputs = math.prod(value.aval.shape[i] for i in own_free)

    def rows_of_one(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = x.transpose([*free, *along]).reshape(positions, inputs)
        if second:
            return a, cotangent.reshape(positions, outputs)
        return a, cotangent.reshape(outputs, positions).T

    def matrix(value: jax.Array) -> jax.Array:
        return value.transpose([*own, *own_free]).reshape(inputs, outputs)

    def of_matrix(matrix: jax.Array) -> jax.Array:
        order = [*own, *own_free]
        shape = [value.aval.shape[i] for i in order]
        return matrix.reshape(shape).transpose([order.index(i) for i in range(len(order))])

    return Rows(positions, inputs, outputs, rows_of_one, matrix, of_matrix)


def _of_convolution(equation: Any) -> Rows:
    window, is_forward = equation.params["window"], equation.params["result"] == "output"
    given, kernel = (v.aval.shape for v in equation.invars)
    *_, inputs, outputs = kernel

    def rows_of_one(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        images, others = (x, cotangent) if is_forward else (cotangent, x)
        return patches(images[0], window), others.reshape(-1, outputs)

    positions = window.num_positions * given[1]
    return Rows(
        positions,
        window.num_offsets * inputs,
        outputs,
        rows_of_one,
        lambda kernel: kernel.reshape(-1, outputs),
    )
