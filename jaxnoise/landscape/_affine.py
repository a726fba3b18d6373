"""A loss at many points around the parameters, with what is affine in their coordinates done once.

At coordinates c the parameters are w + Σ_k c_k d_k. What a program makes of these by sums, and by
products with what no parameter bears on, is affine in c, too: a first dense layer's outputs are
x(W + Σ_k c_k D_k) = xW + Σ_k c_k xD_k. With xW and the xD_k formed beforehand, once for all points,
a sum of a few arrays stands at each point for the product, the largest of many dense networks.

This reads JAX's own intermediate language and so knows no layers and no neural-network library.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var

from .._program import RELABELLINGS, apply, inlined

_LINEAR = RELABELLINGS | {"broadcast_in_dim", "neg", "reduce_sum", "slice", "add", "sub", "add_any"}
_PRODUCTS = {"mul", "dot_general"}  # linear in each operand
# Products of so many numbers for each result are worth doing beforehand: with fewer, working them
# out again takes no longer than to read what stands for them.
_SUMMANDS = 64


def around(
    loss_fn: Callable, params: Any, directions: Sequence[Any], batch: Any
) -> Callable[[jax.Array], Any]:
    """c (K,) → loss_fn(w + Σ_k c_k d_k, batch), made inside a compiled program to be used there.

    Args:
      loss_fn: (params, batch) → metrics of each example.
      params: w.
      directions: the d_k.
      batch: examples.
    """
    leaves, treedef = jax.tree.flatten(params)
    lines = [tuple(line) for line in zip(leaves, *map(jax.tree.leaves, directions), strict=True)]

    def shifted(point: jax.Array) -> Any:
        return treedef.unflatten(_at(point, *line) for line in lines)

    start = jax.eval_shape(shifted, jnp.zeros(len(directions)))
    traced, shapes = jax.make_jaxpr(loss_fn, return_shape=True)(start, batch)
    if traced.effects or any(len({x.dtype for x in line}) > 1 for line in lines):
        return lambda point: loss_fn(shifted(point), batch)
    program = inlined(traced)
    jaxpr: Any = program.jaxpr
    fixed = dict(zip(jaxpr.constvars, program.consts, strict=True))
    fixed.update(zip(jaxpr.invars[len(leaves) :], jax.tree.leaves(batch), strict=True))
    affine = dict(zip(jaxpr.invars, lines, strict=False))
    kept, later = _beforehand(program, affine, fixed)
    kept.update(jaxpr.invars[: len(leaves)])
    read = [*jaxpr.outvars, *(v for equation in later for v in equation.invars)]
    needed = {v for v in read if not isinstance(v, Literal)}
    first = [v for v in affine if v in kept and v in needed]

    def at(point: jax.Array) -> Any:
        values = fixed | {v: _at(point, *affine[v]) for v in first}
        for equation in later:
            results = apply(program, equation, values)
            values.update(zip(equation.outvars, results, strict=True))
        results = [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return at


def _at(point: jax.Array, w: jax.Array, *slopes: jax.Array) -> jax.Array:
    """w + Σ_k c_k d_k."""
    return sum((c.astype(w.dtype) * d for c, d in zip(point, slopes, strict=True)), w)


def _beforehand(program: Any, affine: dict, fixed: dict) -> tuple[set[Var], list[JaxprEqn]]:
    """Works out what does not move, and what is affine and follows from a product worth it.

    Adds both to `fixed` and `affine`, and gives the affine values worked out for good and the
    operations that are left for each point.
    """
    kept, later = set(), []
    for equation in program.jaxpr.eqns:
        run = functools.partial(apply, program, equation)
        moving = list(dict.fromkeys(v for v in _variables(equation) if v not in fixed))
        if not moving:
            fixed.update(zip(equation.outvars, run(fixed), strict=True))
        elif _is_affine(equation, affine, fixed):
            (result,) = equation.outvars
            affine[result] = _line(run, fixed, moving, affine)
            if _is_worth_it(equation) or kept.intersection(moving):
                kept.add(result)
            else:
                later.append(equation)
        else:
            later.append(equation)
    return kept, later


def _line(run: Callable, fixed: dict, moving: list[Var], affine: dict) -> tuple[jax.Array, ...]:
    """What an affine operation gives at w, and by how much that grows along each direction."""

    def of(*operands: jax.Array) -> jax.Array:
        return run(fixed | dict(zip(moving, operands, strict=True)))[0]

    start, *ways = zip(*(affine[v] for v in moving), strict=True)
    value, derivative = jax.linearize(of, *start)
    return value, *(derivative(*way) for way in ways)


def _is_affine(equation: JaxprEqn, affine: dict, fixed: dict) -> bool:
    """Whether an operation's one result is affine in the coordinates, as far as is known here."""
    variables, name = _variables(equation), equation.primitive.name
    moving = [v for v in variables if v not in fixed]
    is_exact = all(_is_exact(v) for v in [*moving, *equation.outvars])
    if not is_exact or any(v not in affine for v in moving):
        return False
    return (
        name in _LINEAR
        or (name in _PRODUCTS and len(moving) == 1)
        or (name == "div" and len(moving) == 1 and equation.invars[0] is moving[0])
    )


def _is_exact(variable: Any) -> bool:
    """Whether it holds floats whose sums may be taken in another order."""
    dtype = variable.aval.dtype
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32


def _is_worth_it(equation: JaxprEqn) -> bool:
    """Whether it is a product of which each result takes many numbers."""
    if equation.primitive.name != "dot_general":
        return False
    (contracted, _), _ = equation.params["dimension_numbers"]
    operand: Any = equation.invars[0].aval
    return math.prod(operand.shape[axis] for axis in contracted) >= _SUMMANDS


def _variables(equation: JaxprEqn) -> list[Var]:
    return [v for v in equation.invars if not isinstance(v, Literal)]
