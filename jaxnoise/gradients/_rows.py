"""Gradients that are a product of two small matrices per example, never formed.

A dense layer, used at T positions, and a convolution, whose positions see patches, have gradients

    g = AᵀΔ,   A: (T, p) what the kernel meets,   Δ: (T, D) cotangents of what it gives,

so ‖g‖² = Σ_{s,t} (AAᵀ)_{st} (ΔΔᵀ)_{st}: two T×T matrices take the place of one of p×D. A stands for
the operand it comes from linearly; a convolution's patches are never cut out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._convolution import convolution_map, patch_products, work_of_patch_products
from .._tree import wide
from ._taps import Record, Use

# Forming, squaring and adding up one number of a gradient costs about as much as so many
# multiplications do inside a matrix product, and so does multiplying and adding up one of T×T.
_NUMBER, _PAIR = 16, 20
# On CPU the examples are worked on in blocks whose T×T matrices hold so many numbers.
_BLOCK = 2**18


@dataclasses.dataclass(frozen=True)
class Rows:
    """A use whose gradient is AᵀΔ.

    A is known by an array X of one example's numbers, in which it is linear.

    Attributes:
      positions, inputs, outputs: T, p and D.
      operands: (others, cotangents) of B examples → X (B, …) and Δ (B, T, D).
      products: X and Y (B, …) of matrices A and C → ACᵀ, (B, T, T).
      work: about as many multiplications as the above costs per example.
      times: X (B, …) and a value K → AK, (B, T, D).
      outer: X (B, …) and Δ (B, T, D) → Σ AᵀΔ over the examples, shaped like the value; then the
        precision of its products.
    """

    positions: int
    inputs: int
    outputs: int
    operands: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    products: Callable[[jax.Array, jax.Array], jax.Array]
    work: int
    times: Callable[[jax.Array, jax.Array], jax.Array]
    outer: Callable[..., jax.Array]

    def suits(self, summed: bool, shifted: bool) -> bool:
        """Whether this costs less than to form the gradients, example by example."""
        t, p, d = self.positions, self.inputs, self.outputs
        product, inner = t * p * d, self.work + t * t * (d + _PAIR)
        own = 3 * inner + product if shifted else inner
        return own + (product if summed else 0) < product + _NUMBER * p * d

    def squared_norms(self, record: Record, use: int) -> jax.Array:
        """‖AᵀΔ‖² of each example, (B,)."""
        x, d = self._operands(record, use)
        return _nonnegative(self._inner(x, d, x, d))

    def squared_distances(self, record: Record, use: int, center: jax.Array) -> jax.Array:
        """‖AᵀΔ − M‖², accurate where all examples are nearly alike.

        With the chunk's means Ā and Δ̄ and what is left, U = A − Ā and V = Δ − Δ̄,

            AᵀΔ − M = ĀᵀV + UᵀΔ − (M − ĀᵀΔ̄),

        whose terms are all small where the examples are nearly alike.
        """
        x, d = self._operands(record, use)
        mean_x, mean_d = jnp.mean(x, 0, keepdims=True), jnp.mean(d, 0, keepdims=True)
        u, v = x - mean_x, d - mean_d
        rest = wide(center) - self.outer(mean_x, mean_d, "highest")
        cross = jnp.sum(self.times(mean_x, rest) * v, (1, 2))
        cross += jnp.sum(self.times(u, rest) * d, (1, 2))
        squares = self._squares(jnp.broadcast_to(mean_x, x.shape), v, u, d)
        return _nonnegative(squares - 2 * cross + jnp.sum(jnp.square(rest)))

    def squared_differences(self, record: Record, minus: Record, use: int) -> jax.Array:
        """‖AᵀΔ − A'ᵀΔ'‖² = ‖Aᵀ(Δ − Δ') + (A − A')ᵀΔ'‖², accurate where the two are nearly alike."""
        x, d = self._operands(record, use)
        other_x, other_d = self._operands(minus, use)
        return _nonnegative(self._squares(x, d - other_d, x - other_x, other_d))

    def weighted_sum(self, record: Record, use: int, weights: jax.Array) -> jax.Array:
        """Σ w_i A_iᵀΔ_i, shaped like the value, as one product of long matrices."""
        x, d = self._operands(record, use)
        return self.outer(x, d * weights.astype(d.dtype)[:, None, None], None)

    def _operands(self, record: Record, use: int) -> tuple[jax.Array, jax.Array]:
        (other,), (cotangent,) = record.others[use], record.cotangents[use]
        x, d = self.operands(other, cotangent)
        return wide(x), wide(d)

    def _squares(self, x: jax.Array, v: jax.Array, u: jax.Array, d: jax.Array) -> jax.Array:
        """‖AᵀV + UᵀD‖² of each example."""
        return self._inner(x, v, x, v) + self._inner(u, d, u, d) + 2 * self._inner(x, v, u, d)

    def _inner(self, x: jax.Array, v: jax.Array, u: jax.Array, d: jax.Array) -> jax.Array:
        """⟨AᵀV, UᵀD⟩ of each example, (B,)."""

        def at_once(x, v, u, d):
            return jnp.sum(self.products(x, u) * _products(v, d), (1, 2))

        def of_one(operands):
            return at_once(*(a[None] for a in operands))[0]

        def in_blocks(*operands):
            return jax.lax.map(of_one, operands, batch_size=block)

        block = max(1, _BLOCK // self.positions**2)
        if len(x) <= block:
            return at_once(x, v, u, d)
        return jax.lax.platform_dependent(x, v, u, d, cpu=in_blocks, default=at_once)


def _products(x: jax.Array, y: jax.Array) -> jax.Array:
    """XYᵀ of each example, (B, T, T)."""
    return jnp.sum(x * y, -1)[..., None] if x.shape[1] == 1 else _matmul(x, y.swapaxes(1, 2))


def _matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    """In full precision on accelerators, too: differences are taken of what it gives."""
    return jnp.matmul(x, y, precision="highest")


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
    order = [*own, *own_free]

    def operands(x: jax.Array, cotangents: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = x.transpose(0, *(1 + i for i in [*free, *along])).reshape(-1, positions, inputs)
        if second:
            return a, cotangents.reshape(-1, positions, outputs)
        return a, cotangents.reshape(-1, outputs, positions).swapaxes(1, 2)

    def times(a: jax.Array, value: jax.Array) -> jax.Array:
        return _matmul(a, value.transpose(order).reshape(inputs, outputs))

    def outer(a: jax.Array, d: jax.Array, precision: Any) -> jax.Array:
        a, d = a.reshape(-1, inputs), d.reshape(-1, outputs)
        matrix = jax.lax.dot_general(a, d, (((0,), (0,)), ((), ())), precision=precision)
        matrix = matrix.reshape([value.aval.shape[i] for i in order])
        return matrix.transpose([order.index(i) for i in range(len(order))])

    work = positions**2 * inputs
    return Rows(positions, inputs, outputs, operands, _products, work, times, outer)


def _of_convolution(equation: Any) -> Rows | None:
    window, is_forward = equation.params["window"], equation.params["result"] == "output"
    given, kernel = (v.aval.shape for v in equation.invars)
    groups, *_, channels, outputs = kernel
    if groups > 1:
        return None
    images, positions = given[1], window.num_positions * given[1]
    exact = window._replace(precision=jax.lax.Precision.HIGHEST)

    def operands(other: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, d = (other, cotangent) if is_forward else (cotangent, other)
        return x[:, 0], d.reshape(-1, positions, outputs)

    def flat(a: jax.Array) -> jax.Array:
        return a.reshape(-1, *a.shape[2:])

    def times(x: jax.Array, value: jax.Array) -> jax.Array:
        y = convolution_map("output", flat(x), value[0], exact, x.dtype)
        return y.reshape(-1, positions, outputs)

    def outer(x: jax.Array, d: jax.Array, precision: Any) -> jax.Array:
        own = window if precision is None else exact
        y = d.reshape(-1, *window.positions, outputs)
        return convolution_map("kernel", flat(x), y, own, x.dtype)[None]

    return Rows(
        positions,
        window.num_offsets * channels,
        outputs,
        operands,
        lambda x, y: patch_products(x, y, window),
        work_of_patch_products(window, images, channels),
        times,
        outer,
    )
