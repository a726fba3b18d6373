"""Programs as JAX traces them: one flat list of operations, run one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, jaxpr_as_fun

from ._convolution import convolution
from ._pooling import max_pool

# Operations whose result holds the entries of their one operand, each once.
RELABELLINGS = {"reshape", "transpose", "squeeze", "rev", "copy", "copy_p", "expand_dims"}
# Calls of a program within the program, and where they keep it.
_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "remat2": "jaxpr"}

_OF_CONVOLUTION = (
    "window_strides",
    "padding",
    "lhs_dilation",
    "rhs_dilation",
    "dimension_numbers",
    "feature_group_count",
    "batch_group_count",
    "precision",
    "preferred_element_type",
)


def inlined(program: ClosedJaxpr) -> ClosedJaxpr:
    """The program without calls, and with our own convolution and pooling where they can be."""

    def run(program: Any, inputs: Sequence[Any]) -> list:
        jaxpr = program.jaxpr
        values = dict(zip(jaxpr.constvars, program.consts, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        for equation in jaxpr.eqns:
            name, operands = equation.primitive.name, [_value(v, values) for v in equation.invars]
            if name in _INLINED:
                called = equation.params[_INLINED[name]]
                results = run(_closed(called), operands)
            elif name == "conv_general_dilated":
                results = [_convolution(*operands, **equation.params)]
            elif name == "reduce_window_max" and _is_side_by_side(**equation.params):
                results = [max_pool(operands[0], equation.params["window_dimensions"])]
            else:
                results = apply(program, equation, values)
            values.update(zip(equation.outvars, results, strict=True))
        return [_value(v, values) for v in jaxpr.outvars]

    return jax.make_jaxpr(lambda *inputs: run(program, inputs))(*program.in_avals)


def apply(program: ClosedJaxpr, equation: JaxprEqn, values: dict) -> list:
    """The results of one of a program's operations on the values of its operands."""
    operands = list(dict.fromkeys(v for v in equation.invars if not isinstance(v, Literal)))
    jaxpr: Any = program.jaxpr
    alone = jaxpr.replace(constvars=(), invars=operands, outvars=equation.outvars, eqns=[equation])
    run: Any = jaxpr_as_fun(ClosedJaxpr(alone, ()))
    return run(*(values[v] for v in operands))


def _closed(program: Any) -> Any:
    return program if hasattr(program, "consts") else ClosedJaxpr(program, ())


def _convolution(lhs: jax.Array, rhs: jax.Array, **parameters: Any) -> jax.Array:
    return convolution(lhs, rhs, **{name: parameters[name] for name in _OF_CONVOLUTION})


def _is_side_by_side(
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any,
    window_dilation: Any,
    **_: Any,
) -> bool:
    """Whether windows neither overlap nor leave a gap, nor reach beyond the array."""
    is_plain = {*base_dilation, *window_dilation} == {1} and not any(map(any, padding))
    return is_plain and tuple(window_strides) == tuple(window_dimensions)


def _value(atom: Any, values: dict) -> Any:
    return atom.val if isinstance(atom, Literal) else values[atom]
