"""What the transformations share: the inner counter, and states that keep their types."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from .._checks import check_not_negative, check_numbers

NO_PARAMS = (
    "You are using a transformation that requires the current value of the parameters: "
    "pass `params` when calling `update`."
)


def inner_counter(
    period: jax.typing.ArrayLike, epoch_length: jax.typing.ArrayLike | None
) -> Callable[[jax.Array], jax.Array]:
    """Returns the map from the step count t to the inner counter k.

    k = t mod period, or (t mod epoch_length) mod period where an epoch starts a new cycle.
    Traced values are taken as they are, so that a period can be swept or injected.
    """
    _check_positive("period", period)
    if epoch_length is not None:
        _check_positive("epoch_length", epoch_length)

    def counter(count: jax.Array) -> jax.Array:
        step = count if epoch_length is None else count % epoch_length
        return step % period

    return counter


def _check_positive(name: str, value: jax.typing.ArrayLike) -> None:
    check_numbers(value, name)
    if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
        raise ValueError(f"`{name}` counts steps: pass an integer of at least 1, got {value}.")
    if not isinstance(value, Tracer) and np.any(np.asarray(value) < 1):
        raise ValueError(f"`{name}` must be at least 1, got {value}: pass a positive integer.")


def check_coefficient(value: Any, name: str) -> None:
    """Raises unless it is a schedule, or a number that is not negative."""
    if not callable(value):
        check_not_negative(value, name)


def strong(x: jax.typing.ArrayLike) -> jax.Array:
    """Copies `x` into an array of the same dtype that is not weakly typed.

    A copy, for params and state may both be donated, which one buffer in both would forbid.
    """
    return jnp.array(x, dtype=jnp.result_type(x))


def keep_dtypes(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Returns `inner` with updates as typed as they came and a state as typed as at the start.

    Float32 gradients of bfloat16 params, or traced float32 hyper-parameters, would otherwise
    promote the moments at the first step: another compilation, and no carry for a scan.
    """
    inner = optax.with_extra_args_support(inner)

    def init_fn(params: optax.Params) -> optax.OptState:
        return jax.tree.map(strong, inner.init(params))

    def update_fn(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        new_updates, new_state = inner.update(updates, state, params, **extra_args)
        return _cast_like(new_updates, updates), _cast_like(new_state, state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _cast_like(new: Any, old: Any) -> Any:
    """Casts the leaves of `new` to the dtypes of `old`; where `new` has None, `old` stays."""
    return jax.tree.map(
        lambda x, like: like if x is None else x.astype(like.dtype),
        new,
        old,
        is_leaf=lambda x: x is None,
    )
