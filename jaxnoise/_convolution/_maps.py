"""The three maps of a convolution, as one primitive that JAX can differentiate and batch.

With images x (N, …, C), a kernel k (…, C, O) and outputs y (N, …, O), convolution is the trilinear
form ⟨y, x ∗ k⟩. Leaving out one argument gives three bilinear maps,

    output(x, k) → y,    input(y, k) → x,    kernel(x, y) → k,

and the derivatives of each are the other two, to every order, forward and backward.

Each two of x, k and y share one axis (x and y the examples N, x and k the channels C, k and y the
features O), so a batch of one operand is folded into the axis that it shares with the result. Where
both operands come in batches, the result is a group of independent maps: every array has a leading
axis for them, of size 1 otherwise.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import DTypeLike

from .._tree import common_dtype
from . import _cpu, _xla
from ._window import Array, Window

# What each map takes, and where in the first array the axis stands that it shares with the second.
_OPERANDS: dict[Array, tuple[Array, Array]] = {
    "output": ("input", "kernel"),
    "input": ("output", "kernel"),
    "kernel": ("input", "output"),
}
_SHARED_AXIS: dict[tuple[Array, Array], int] = {
    ("input", "output"): 1,
    ("output", "input"): 1,
    ("input", "kernel"): -1,
    ("kernel", "input"): -2,
    ("kernel", "output"): -1,
    ("output", "kernel"): -1,
}


def convolution_map(
    result: Array, a: jax.Array, b: jax.Array, window: Window, dtype: DTypeLike
) -> jax.Array:
    """The array called `result`, of the given dtype, from the other two in the order above."""
    return _map.bind(a[None], b[None], result=result, window=window, dtype=jnp.dtype(dtype))[0]


_map = Primitive("convolution_map")


@_map.def_impl
@functools.partial(jax.jit, static_argnames=("result", "window", "dtype"))
def _apply(a, b, **parameters):
    return _map.bind(a, b, **parameters)


@_map.def_abstract_eval
def _abstract(a, b, *, result, window, dtype):
    shapes = {
        "output": (a.shape[1], *window.positions, b.shape[-1]),
        "input": (a.shape[1], *window.size, b.shape[-2]),
        "kernel": (*window.kernel, a.shape[-1], b.shape[-1]),
    }
    return ShapedArray((a.shape[0], *shapes[result]), dtype)


def _transpose(which: int, cotangent: Any, a: Any, b: Any, *, result, window, dtype):
    """The operand number `which` from the cotangent of the result and the other operand."""
    del dtype
    wanted, other = _OPERANDS[result][which], _OPERANDS[result][1 - which]
    given = {result: cotangent, other: (a, b)[1 - which]}
    operands = (given[name] for name in _OPERANDS[wanted])
    return _map.bind(*operands, result=wanted, window=window, dtype=(a, b)[which].aval.dtype)


ad.defbilinear(_map, functools.partial(_transpose, 0), functools.partial(_transpose, 1))


def _batch(operands, axes, *, result, **parameters):
    bind = functools.partial(_map.bind, result=result, **parameters)
    if None not in axes:
        a, b = (jnp.moveaxis(op, axis, 0) for op, axis in zip(operands, axes, strict=True))
        y = bind(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:]))
        return y.reshape(*a.shape[:2], *y.shape[1:]), 0
    which = axes.index(None) ^ 1
    mapped, axis = operands[which], axes[which]
    count, name = mapped.shape[axis], _OPERANDS[result][which]
    at = _SHARED_AXIS[name, result] % (mapped.ndim - 1)
    mapped = jnp.moveaxis(mapped, axis, at)
    folded = mapped.reshape(*mapped.shape[:at], -1, *mapped.shape[at + 2 :])
    y = bind(*(folded if i == which else op for i, op in enumerate(operands)))
    at = _SHARED_AXIS[result, name] % y.ndim
    return y.reshape(*y.shape[:at], count, -1, *y.shape[at + 1 :]), at


batching.primitive_batchers[_map] = _batch


def _lowering(platform: ModuleType):
    def run(a, b, *, result, window, dtype):
        common = platform.operand_dtype(common_dtype(a.dtype, b.dtype), window)
        a, b = a.astype(common), b.astype(common)
        one = functools.partial(getattr(platform, result), window=window)
        if a.shape[0] == 1:
            return one(a[0], b[0])[None].astype(dtype)
        return platform.each(one, a, b).astype(dtype)

    return mlir.lower_fun(run, multiple_results=False)


mlir.register_lowering(_map, _lowering(_xla))
mlir.register_lowering(_map, _lowering(_cpu), platform="cpu")
