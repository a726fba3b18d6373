"""Norms, sums and distances of the gradients of a chunk's examples, none of them kept.

Each group of parameters goes the cheapest way: as rows, as lookups, or by forming its gradients
and reducing them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._tree import num_examples, wide
from ._lookups import Lookups, lookups
from ._rows import Rows, rows
from ._taps import Group, Record, Taps

# Up to so many numbers, gradients of a chunk are formed all at once on CPU, too.
_AT_ONCE = 2**20

Reduced = tuple[list[jax.Array], list[jax.Array]]


def reduce_gradients(
    taps: Taps,
    params: Any,
    chunk: Any,
    *,
    weights: jax.Array | None = None,
    center: Any = None,
    minus: Any = None,
) -> Reduced:
    """Squared norms of the gradients g_i of a chunk, leaf by leaf, and their weighted sum.

    Args:
      taps: the uses of the parameters in the loss.
      params: the parameters.
      chunk: batch of B examples.
      weights: (B,) weights of the sum; None leaves it out.
      center: what is taken from every g_i before the norm, a pytree like `params`.
      minus: other parameters, where the gradient is taken from g_i before the norm.

    Returns:
      (norms, sums): for each leaf its squared norms (B,) and its weighted sum, in at least single
      precision; no sums without weights.
    """
    here = taps.record(params, chunk)
    there = None if minus is None else taps.record(minus, chunk)
    centers = None if center is None else jax.tree.leaves(center)
    norms: list[Any] = [None] * len(here.leaves)
    sums: list[Any] = [None] * len(here.leaves)
    for group in taps.groups:
        own = None if centers is None else [centers[i] for i in group.params]
        shifted = own is not None or there is not None
        if not group.uses:
            found = _unused(group, here, num_examples(chunk), own)
        elif way := _unformed(taps, group, weights is not None, shifted):
            found = _without_forming(way, taps, group, here, there, own, weights)
        else:
            found = _formed(taps, group, here, there, own, weights)
        for k, i in enumerate(group.params):
            norms[i] = found[0][k]
            sums[i] = found[1][k] if weights is not None else None
    return norms, sums if weights is not None else []


def _unformed(taps: Taps, group: Group, summed: bool, shifted: bool) -> Rows | Lookups | None:
    """The way that forms no gradients of the group, where there is one and it is the shorter."""
    if not group.is_relabelled:
        return None
    use = taps.uses[group.uses[0]]
    way = rows(use) or lookups(use)
    return way if way is not None and way.suits(summed, shifted) else None


def _without_forming(
    way: Rows | Lookups,
    taps: Taps,
    group: Group,
    here: Record,
    there: Record | None,
    center: Sequence[jax.Array] | None,
    weights: jax.Array | None,
) -> Reduced:
    (k,), (i,), (value,) = group.uses, group.params, group.values
    values_of = taps.values_of(group, here.leaves)
    if there is not None:
        norms = way.squared_differences(here, there, k)
    elif center is not None:
        norms = way.squared_distances(here, k, taps.relabel(group, center[0]))
    else:
        norms = way.squared_norms(here, k)
    if weights is None:
        return [norms], []
    total = way.weighted_sum(here, k, weights)
    _, pull = jax.vjp(values_of, [here.leaves[i]])
    return [norms], [wide(g) for g in pull([total.astype(here.values[value].dtype)])[0]]


def _formed(
    taps: Taps,
    group: Group,
    here: Record,
    there: Record | None,
    center: Sequence[jax.Array] | None,
    weights: jax.Array | None,
) -> Reduced:
    """Each example's gradient, formed and given up again at once."""
    records = [here] if there is None else [here, there]

    def squares(gradients: list[list[jax.Array]]) -> list[jax.Array]:
        first, *others = gradients
        for other in [*others, *([] if center is None else [center])]:
            first = [a - wide(b) for a, b in zip(first, other, strict=True)]
        return [jnp.sum(jnp.square(g)) for g in first]

    def one_by_one(examples: Any, weights: Any) -> Reduced:
        def step(total, example):
            gradients, weight = gradients_of(example[0]), example[1]
            pairs = zip(total, gradients[0], strict=False)
            total = [t + weight.astype(g.dtype) * g for t, g in pairs]
            return total, squares(gradients)

        start = [jnp.zeros_like(wide(here.leaves[i])) for i in group.params]
        start = [] if weights is None else start
        total, norms = jax.lax.scan(step, start, (examples, weights))
        return norms, total

    def at_once(examples: Any, weights: Any) -> Reduced:
        gradients = jax.vmap(gradients_of)(examples)
        total = []
        if weights is not None:
            total = [jnp.tensordot(weights.astype(g.dtype), g, 1) for g in gradients[0]]
        return jax.vmap(squares)(gradients), total

    gradients_of = _gradient(taps, group, records)
    examples = [
        [(record.others[k], record.cotangents[k]) for k in group.uses] for record in records
    ]
    numbers = sum(here.leaves[i].size for i in group.params)
    if num_examples(examples) * numbers <= _AT_ONCE:
        return at_once(examples, weights)
    return jax.lax.platform_dependent(examples, weights, cpu=one_by_one, default=at_once)


def _gradient(taps: Taps, group: Group, records: list[Record]):
    """The function from what records hold of one example to its gradients of the group."""
    pulls_back = [
        jax.vjp(taps.values_of(group, r.leaves), [r.leaves[i] for i in group.params])[1]
        for r in records
    ]

    def gradient(record: Record, pull_back: Any, example: Any) -> list[jax.Array]:
        totals = {v: jnp.zeros_like(record.values[v]) for v in group.values}
        for k, (others, cotangents) in zip(group.uses, example, strict=True):
            use = taps.uses[k]
            own = [v for v in use.values if v in totals]

            def results(arrays, use=use, own=own, others=others):
                values = {**record.values, **dict(zip(own, arrays, strict=True))}
                return taps.results(use, values, others)

            (pulled,) = jax.vjp(results, [record.values[v] for v in own])[1](cotangents)
            totals.update({v: totals[v] + g for v, g in zip(own, pulled, strict=True)})
        return [wide(g) for g in pull_back(list(totals.values()))[0]]

    def gradients(examples: Any) -> list[list[jax.Array]]:
        return [gradient(*each) for each in zip(records, pulls_back, examples, strict=True)]

    return gradients


def _unused(group: Group, here: Record, count: int, center: Sequence[jax.Array] | None) -> Reduced:
    zeros = [jnp.zeros_like(wide(here.leaves[i])) for i in group.params]
    squares = [jnp.sum(jnp.square(c)) for c in (zeros if center is None else center)]
    return [jnp.full(count, s, z.dtype) for s, z in zip(squares, zeros, strict=True)], zeros
