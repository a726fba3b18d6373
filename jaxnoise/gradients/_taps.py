"""Where a program's parameters act on an example, and what arrives there on the way back.

The program of one example's loss is read as a list of operations. Some see parameters alone: casts,
transpositions, a weight decay. One that joins such a value to something of the example is a *use*.
All that an example's gradient with respect to a parameter can be made of is, for each of its uses,
the other operands a_i and the cotangent δ_i of the result: for a dense layer g_i = a_i δ_iᵀ. One
forward and one backward pass through the activations give both for all examples of a chunk; what
is formed of them, norms or sums or distances, is decided afterwards, use by use.

This reads JAX's own intermediate language and so knows no layers and no neural-network library.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var

from .._program import RELABELLINGS, apply, inlined
from .._tree import num_examples

# By default the operands and cotangents of a chunk hold about as many numbers as do well in a
# processor's caches, or what is little of an accelerator's memory; but a chunk has a few examples
# as long as they hold no more than so many.
_KEPT_NUMBERS = {"cpu": 2**22, "gpu": 2**28}
_FEW_EXAMPLES, _MOST_NUMBERS = 16, 2**27


@dataclasses.dataclass(frozen=True)
class Use:
    """An operation that joins values of the parameters to values of the example.

    Attributes:
      equation: the operation.
      values: its floating operands made of parameters alone.
      others: its operands that the example bears on.
    """

    equation: JaxprEqn
    values: list[Var]
    others: list[Var]


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters whose gradients cannot be told apart use by use, and all their uses.

    Attributes:
      params: which leaves of the parameters.
      values: what is made of them alone and meets the example.
      uses: which uses they have.
      relabelling: where there are one leaf, one value and one use, in which the value is alone and
        holds the leaf's entries, each once, in some shape or order: the operations by which it
        comes from the leaf; None otherwise.
    """

    params: list[int]
    values: list[Var]
    uses: list[int]
    relabelling: tuple[JaxprEqn, ...] | None

    @property
    def is_relabelled(self) -> bool:
        return self.relabelling is not None


@dataclasses.dataclass(frozen=True)
class Record:
    """What one forward and one backward pass over a chunk of B examples leave behind.

    Attributes:
      leaves: of the parameters.
      values: all that no example bears on.
      others: for each use the list of its other operands, arrays with a leading B.
      cotangents: for each use the list of the cotangents of its floating results, likewise.
    """

    leaves: list[jax.Array]
    values: dict[Var, Any]
    others: list[list[jax.Array]]
    cotangents: list[list[jax.Array]]


class Taps:
    """The uses of the parameters in the loss of one example.

    Args:
      loss_fn: (params, batch) → losses (B,).
      params: pytree of floating arrays; they may be tracers.
      example: one example, without the leading axis; shapes and dtypes are all that matters.
    """

    def __init__(self, loss_fn: Callable, params: Any, example: Any):
        def loss_of_one(params, example, weight):
            loss = loss_fn(params, jax.tree.map(lambda x: x[None], example))[0]
            return weight.astype(loss.dtype) * loss  # so that it always depends on the example

        self._program = inlined(jax.make_jaxpr(loss_of_one)(params, example, jnp.ones(())))
        inputs, count = self._program.jaxpr.invars, len(jax.tree.leaves(params))
        self._params, self._inputs = inputs[:count], inputs[count:]
        self._read()

    def _read(self) -> None:
        """Sorts the operations: those before any example, those of the example, and the uses."""
        sources: dict[Var, frozenset[int]] = {v: frozenset([i]) for i, v in enumerate(self._params)}
        relabelled: dict[Var, tuple] = dict.fromkeys(self._params, ())
        of_example, active = set(self._inputs), self._active()
        self._before, self._body, self.uses = [], [], []
        self._use_of: dict[int, int] = {}
        for equation in self._program.eqns:
            operands = [v for v in equation.invars if not isinstance(v, Literal)]
            fixed = list(dict.fromkeys(v for v in operands if v in sources and _is_floating(v)))
            if others := list(dict.fromkeys(v for v in operands if v in of_example)):
                of_example.update(equation.outvars)
                if fixed and active.intersection(equation.outvars):
                    self._use_of[len(self._body)] = len(self.uses)
                    self.uses.append(Use(equation, fixed, others))
                self._body.append(equation)
                continue
            self._before.append(equation)
            if fixed and equation.primitive.name != "stop_gradient":
                source = frozenset().union(*(sources[v] for v in fixed))
                sources.update(dict.fromkeys(equation.outvars, source))
                if operands == fixed[:1] and fixed[0] in relabelled and _relabels(equation):
                    relabelled[equation.outvars[0]] = (*relabelled[fixed[0]], equation)
        self.groups = self._grouped(sources, relabelled)

    def _active(self) -> set[Var]:
        """The floating variables by which the loss is differentiated."""
        active = set(self._program.jaxpr.outvars)
        for equation in reversed(self._program.eqns):
            name = equation.primitive.name
            if name != "stop_gradient" and active.intersection(equation.outvars):
                operands = (v for v in equation.invars if not isinstance(v, Literal))
                active.update(v for v in operands if _is_floating(v))
        return active

    def _grouped(self, sources: dict, relabelled: dict[Var, tuple]) -> list[Group]:
        """Parameters that meet in one value stand in one group."""
        merged = [{i} for i in range(len(self._params))]
        values = list(dict.fromkeys(v for use in self.uses for v in use.values))
        for value in values:
            together = set().union(*(merged[i] for i in sources[value]))
            for i in together:
                merged[i] = together
        groups = []
        for params in {id(m): sorted(m) for m in merged}.values():
            own = [v for v in values if sources[v] & set(params)]
            uses = [k for k, use in enumerate(self.uses) if set(own) & set(use.values)]
            is_relabelled = (
                len(params) == len(own) == len(uses) == 1
                and self.uses[uses[0]].values == own
                and self.uses[uses[0]].equation.invars.count(own[0]) == 1
            )
            groups.append(
                Group(params, own, uses, relabelled.get(own[0]) if is_relabelled else None)
            )
        return groups

    def default_chunk_size(self, n: int) -> int:
        """As many examples as leave a bounded number of numbers between the passes."""
        kept = sum(v.aval.size for use in self.uses for v in [*use.others, *use.equation.outvars])
        budget = _KEPT_NUMBERS.get(jax.default_backend(), _KEPT_NUMBERS["gpu"])
        few = min(_FEW_EXAMPLES, _MOST_NUMBERS // max(1, kept))
        return max(1, min(n, max(few, budget // max(1, kept))))

    def record(self, params: Any, chunk: Any) -> Record:
        """Runs a chunk of examples forward and backward, without a gradient of the parameters."""
        leaves, count = jax.tree.leaves(params), num_examples(chunk)
        values = self._prelude(leaves)
        probes = [
            [jnp.zeros((count, *v.aval.shape), v.aval.dtype) for v in _floating(use.equation)]
            for use in self.uses
        ]

        def losses(probes):
            run = functools.partial(self._loss, values)
            return jax.vmap(run)(probes, (chunk, jnp.ones(count)))

        loss, pull, others = jax.vjp(losses, probes, has_aux=True)
        (cotangents,) = pull(jnp.ones_like(loss))
        return Record(leaves, values, others, cotangents)

    def _prelude(self, leaves: Sequence[jax.Array]) -> dict[Var, Any]:
        """All values that no example bears on."""
        jaxpr = self._program.jaxpr
        values = dict(zip(jaxpr.constvars, self._program.consts, strict=True))
        values.update(zip(self._params, leaves, strict=True))
        for equation in self._before:
            results = apply(self._program, equation, values)
            values.update(zip(equation.outvars, results, strict=True))
        return values

    def _loss(self, values: dict, probes: list, example: Any) -> tuple[jax.Array, list]:
        """The loss, with the probes added to the results of the uses, and their other operands."""
        values = {**values, **dict(zip(self._inputs, jax.tree.leaves(example), strict=True))}
        others = []
        for k, equation in enumerate(self._body):
            results = apply(self._program, equation, values)
            if (use := self._use_of.get(k)) is not None:
                others.append([values[v] for v in self.uses[use].others])
                added = iter(probes[use])
                results = [
                    y + next(added) if _is_floating(v) else y
                    for v, y in zip(equation.outvars, results, strict=True)
                ]
            values.update(zip(equation.outvars, results, strict=True))
        (loss,) = self._program.jaxpr.outvars
        return values[loss], others

    def results(self, use: Use, values: dict[Var, Any], others: list) -> list[jax.Array]:
        """Floating results of a use, for one example."""
        given = {**values, **dict(zip(use.others, others, strict=True))}
        results = apply(self._program, use.equation, given)
        outputs = zip(use.equation.outvars, results, strict=True)
        return [y for v, y in outputs if _is_floating(v)]

    def values_of(self, group: Group, leaves: Sequence[jax.Array]) -> Callable:
        """The function from a group's leaves to its values, in order."""

        def function(own: Sequence[jax.Array]) -> list[jax.Array]:
            given = list(leaves)
            for i, leaf in zip(group.params, own, strict=True):
                given[i] = leaf
            values = self._prelude(given)
            return [values[v] for v in group.values]

        return function

    def relabel(self, group: Group, array: jax.Array) -> jax.Array:
        """Another array's entries in the shape and order of the group's value, in its own dtype."""
        for equation in group.relabelling or ():
            if equation.primitive.name != "convert_element_type":
                (operand,) = (v for v in equation.invars if not isinstance(v, Literal))
                (array,) = apply(self._program, equation, {operand: array})
        return array


def taps_of(loss_fn: Callable, params: Any, data: Any) -> Taps:
    """The taps of a loss, given data whose examples are of the shapes they take."""
    example = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), data)
    return Taps(loss_fn, params, example)


def _relabels(equation: Any) -> bool:
    """Whether the result holds the operand's entries, each once."""
    name, operand, result = equation.primitive.name, equation.invars[0], equation.outvars[0]
    if name == "broadcast_in_dim":
        return operand.aval.size == result.aval.size
    if name == "convert_element_type":
        return all(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in (operand, result))
    return name in RELABELLINGS


def _is_floating(variable: Any) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.inexact)


def _floating(equation: JaxprEqn) -> list:
    return [v for v in equation.outvars if _is_floating(v)]
