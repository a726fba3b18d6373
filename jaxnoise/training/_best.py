"""The parameters after the epoch that did best on the test data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import shown
from .._streaming import named
from ._epoch import select
from ._source import batch_like
from ._start import own
from ._state import Best, TrainState


def check_metric(
    metric: Any, evaluate: Callable | None, state: TrainState, test_data: Any, replicas: int | None
) -> None:
    """Raises unless the metric is one of those that the test data are evaluated by."""
    if test_data is None or evaluate is None:
        raise ValueError("keep_best needs test_data, to be evaluated after every epoch")
    model = state.params, state.model_state
    if replicas is not None:
        model = jax.tree.map(lambda x: x[0], model)
    found = named(jax.eval_shape(evaluate, *model, batch_like(test_data, 1)))
    if metric not in found:
        raise ValueError(
            f"keep_best must name a metric of the test data ({', '.join(found)}), got "
            f"{shown(metric)}"
        )


def none_yet(state: TrainState, metric: str) -> Best:
    """Before the first epoch."""
    worst = -jnp.inf if _is_to_rise(metric) else jnp.inf
    value = jnp.full(state.step.shape, worst, float)
    params, model_state = own((state.params, state.model_state))
    return Best(params, model_state, jnp.zeros_like(state.step), value)


def better(best: Best, state: TrainState, metric: str, value: jax.Array, epoch: int) -> Best:
    """The best so far, once the metric after another epoch is known. The former is consumed."""
    reached = state.params, state.model_state
    return _better(best, reached, value, jnp.int32(epoch), rises=_is_to_rise(metric))


@functools.partial(jax.jit, static_argnames="rises", donate_argnames="best")
def _better(best, reached, value, epoch, *, rises):
    def choose(best, reached, value):
        params, model_state = reached
        new = Best(params, model_state, epoch, value.astype(best.value.dtype))
        improves = new.value > best.value if rises else new.value < best.value
        return jax.tree.map(functools.partial(select, improves), new, best)

    return jax.vmap(choose)(best, reached, value) if value.ndim else choose(best, reached, value)


def _is_to_rise(metric: str) -> bool:
    return not metric.endswith("loss")
