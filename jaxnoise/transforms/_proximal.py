"""The two halves of trajectory regularization, each usable alone: the pull, the inner step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._checks import check_not_negative
from ._cycle import NO_PARAMS, check_coefficient, inner_counter, strong


class ProximalState(NamedTuple):
    """Holds the point that the parameters are pulled to.

    Attributes:
      count: () int32, the number of steps so far.
      anchor: the point, shapes and dtypes of the params.
    """

    count: jax.typing.ArrayLike
    anchor: optax.Params


def add_proximal_term(
    weight: optax.ScalarOrSchedule = 0.1,
    period: jax.typing.ArrayLike = 10,
    *,
    epoch_length: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Add the gradient of a quadratic pull towards a recent point of the trajectory.

    At step t with inner counter k = t mod S, the anchor a and the
    updates u become

        a ← w if k = 0,   u ← u + λ_t (w − a),

    with w the params before the step: the stochastic gradient of
    G(w) = f(w) + (λ/2) ‖w − a‖². The pull is exactly zero at
    k = 0, so that with S = 1 the updates pass through unchanged.

    Args:
      weight: the coefficient λ ≥ 0 of the pull, in units of the loss's curvature: a number, or
        a schedule of the step count such as `reference_weight`. The theory wants it
        above the non-convexity δ of the loss.
      period: S ≥ 1, the number of steps between two anchors.
      epoch_length: steps per epoch, where each epoch starts with a new anchor, so that
        k = (t mod epoch_length) mod S; None counts all steps in one row.

    Returns:
      A transformation whose state holds a step count and one copy of the params, and whose
      `update` needs `params`. Updates keep their dtype.

    Raises:
      ValueError: if `period` or `epoch_length` is no positive integer, or if `update` is
        called without `params`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> tx = jn.transforms.add_proximal_term(weight=0.5, period=2)
      >>> params, gradient = jnp.array([1.0]), jnp.array([0.0])
      >>> state = tx.init(params)
      >>> updates, state = tx.update(gradient, state, params)  # k = 0: the anchor is 1
      >>> updates, state = tx.update(gradient, state, params + 2.0)  # k = 1
      >>> print(updates)
      [1.]

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Algorithm 1
    """
    counter = inner_counter(period, epoch_length)
    check_coefficient(weight, "weight")
    # A compiled sum with a zero may still round otherwise than without it (fused multiply-add).
    never_pulls = _is_constant(weight, 0) or _is_constant(period, 1)

    def init_fn(params: optax.Params) -> ProximalState:
        return ProximalState(count=jnp.zeros([], jnp.int32), anchor=jax.tree.map(strong, params))

    def update_fn(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, ProximalState]:
        del extra_args
        if params is None:
            raise ValueError(NO_PARAMS)
        starts = counter(state.count) == 0

        # The pull reads the new anchor, not the old one: then every buffer is written after its
        # last reader, and XLA updates donated params and anchor in place.
        anchor = jax.tree.map(
            lambda w, a: jnp.where(starts, w, a).astype(a.dtype), params, state.anchor
        )
        new_state = ProximalState(optax.safe_increment(state.count), anchor)
        if never_pulls:
            return updates, new_state

        coefficient = weight(state.count) if callable(weight) else weight

        def pulled(u, w, a):
            return u + jnp.asarray(coefficient, u.dtype) * (w - a).astype(u.dtype)

        updates = jax.tree.map(
            lambda u, w, a: None if u is None else pulled(u, w, a),
            updates,
            params,
            anchor,
            is_leaf=lambda u: u is None,
        )
        return updates, new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_constant(value: Any, number: int) -> bool:
    return isinstance(value, int | float) and value == number


class InnerStepState(NamedTuple):
    """Counts the steps of an inner schedule.

    Attributes:
      count: () int32, the number of steps so far.
    """

    count: jax.typing.ArrayLike


def scale_by_inner_step(
    period: jax.typing.ArrayLike = 10, *, epoch_length: jax.typing.ArrayLike | None = None
) -> optax.GradientTransformationExtraArgs:
    """Divide the updates by the number of the step within its cycle.

        u ← u / (k + 1),   k = t mod S,

    the decreasing step that a strongly convex inner problem asks for. Over a cycle it
    multiplies the mean step by H_S / S, with H_S the harmonic number (0.293 at
    S = 10): compare with a base optimizer at that learning rate as well.

    Args:
      period: S ≥ 1, the number of steps in a cycle.
      epoch_length: steps per epoch, where each epoch starts a new cycle, so that
        k = (t mod epoch_length) mod S; None counts all steps in one row.

    Returns:
      A transformation whose state holds a step count. Updates keep their dtype.

    Raises:
      ValueError: if `period` or `epoch_length` is no positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> tx = jn.transforms.scale_by_inner_step(period=3)
      >>> state = tx.init(jnp.zeros(()))
      >>> for _ in range(4):
      ...     updates, state = tx.update(jnp.array(6.0), state)
      ...     print(updates)
      6.0
      3.0
      2.0
      6.0

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Definition 1
    """
    counter = inner_counter(period, epoch_length)

    def init_fn(params: optax.Params) -> InnerStepState:
        del params
        return InnerStepState(count=jnp.zeros([], jnp.int32))

    def update_fn(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, InnerStepState]:
        del params, extra_args
        divisor = counter(state.count) + 1

        def divided(u):
            # half precision can't hold every k + 1, so it divides in float32
            wide = u.dtype if jnp.finfo(u.dtype).bits >= 32 else jnp.float32
            return (u.astype(wide) / divisor.astype(wide)).astype(u.dtype)

        updates = jax.tree.map(divided, updates)
        return updates, InnerStepState(optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def reference_weight(
    learning_rate: optax.ScalarOrSchedule, weight: jax.typing.ArrayLike = 0.1
) -> optax.Schedule:
    """The weight of the pull in the authors' code, which grows as the learning rate falls.

        λ_t = 2 λ η_0 / η_t,

    and 0 where η_t = 0. Their code takes the gradient of
    λ_w ‖w − a‖² / η_t (hence the 2) with λ_w = λη_0:
    coefficients 0.2, 2 and 20 in the three phases of a learning rate that falls tenfold twice.
    A warm-up from exactly 0 has η_0 = 0, and so no pull at all.

    Args:
      learning_rate: η, a number or a schedule of the step count.
      weight: λ ≥ 0, dimensionless here.

    Returns:
      A schedule of the step count, for the `weight` of `trsgd`, `tradam` or
      `add_proximal_term`.

    Raises:
      TypeError: if an argument is neither a number nor, the learning rate, a schedule.
      ValueError: if an argument is negative or not finite.

    Example:
      >>> import jaxnoise as jn
      >>> import optax
      >>> schedule = jn.transforms.reference_weight(
      ...     optax.piecewise_constant_schedule(0.1, {100: 0.1, 150: 0.1})
      ... )
      >>> [round(float(schedule(t)), 3) for t in (0, 120, 180)]
      [0.2, 2.0, 20.0]

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, public code `TRAlgorithm`
    """

    check_coefficient(learning_rate, "learning_rate")
    check_not_negative(weight, "weight")

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        if callable(learning_rate):
            initial, current = learning_rate(jnp.zeros_like(count)), learning_rate(count)
        else:
            initial = current = learning_rate
        vanishes = jnp.equal(current, 0)
        return jnp.where(vanishes, 0.0, 2 * weight * initial / jnp.where(vanishes, 1.0, current))

    return schedule
