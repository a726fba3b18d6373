"""Trajectory-regularized SGD and Adam."""

import jax
import optax

from .._checks import check_fraction
from ._amsgrad import scale_by_raw_amsgrad
from ._cycle import check_coefficient, keep_dtypes
from ._proximal import add_proximal_term, scale_by_inner_step


def trsgd(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike | None = 0.9,
    *,
    weight: optax.ScalarOrSchedule = 0.1,
    period: jax.typing.ArrayLike = 10,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    inner_schedule: str = "harmonic",
    epoch_length: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Trajectory-regularized stochastic gradient descent (TRSGD).

    With inner counter k = t mod S, stochastic gradient g_t and the anchor
    a, which becomes w_t whenever k = 0,

        d_t = g_t + λ_t (w_t − a) + ρ w_t
        m_t = μ m_{t−1} + d_t
        w_{t+1} = w_t − η_t / (k + 1) · m_t

    The momentum is never reset. With `period=1`, or with `weight=0.0` and
    `inner_schedule="constant"`, this is SGD with momentum to the last bit.

    Args:
      learning_rate: η > 0, a number or a schedule of the step count.
      momentum: μ in [0, 1), without dampening or Nesterov's look-ahead; None keeps no buffer.
      weight: λ ≥ 0, the coefficient of the pull towards the anchor: a number, or a schedule of
        the step count such as `reference_weight`.
      period: S ≥ 1, the number of steps between two anchors.
      weight_decay: ρ ≥ 0, added to the gradient as ρw (L2 regularization, not decoupled).
      inner_schedule: `"harmonic"` takes the step η/(k + 1) of the published algorithm,
        `"constant"` keeps η.
      epoch_length: steps per epoch, where each epoch starts with a new anchor, so that
        k = (t mod epoch_length) mod S, as in the authors' training loop; None counts all steps
        in one row.

    Returns:
      The optimizer. Its `update` needs `params`; its state is the momentum, one copy of the
      params and step counts.

    Raises:
      ValueError: if `period` or `epoch_length` is no positive integer or `inner_schedule`
        is unknown, or if `update` is called without `params`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> import optax
      >>> def loss(w): return jnp.sum(w**2)
      >>> optimizer = jn.transforms.trsgd(0.1, weight=0.1, period=5)
      >>> params = jnp.array([1.0, -2.0])
      >>> state = optimizer.init(params)
      >>> for _ in range(20):
      ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(loss(params) < 1.0)
      True

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Algorithm 1 and Definition 1
    """
    if momentum is not None:
        check_fraction(momentum, "momentum")
    accumulate = optax.identity() if momentum is None else optax.trace(momentum)
    return _trajectory_regularized(
        accumulate, learning_rate, weight, period, weight_decay, inner_schedule, epoch_length
    )


def tradam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    weight: optax.ScalarOrSchedule = 0.1,
    period: jax.typing.ArrayLike = 10,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    amsgrad: bool = False,
    inner_schedule: str = "harmonic",
    epoch_length: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Trajectory-regularized Adam (TRAdam).

    With inner counter k = t mod S, stochastic gradient g_t and the anchor
    a, which becomes w_t whenever k = 0 (and s = t + 1),

        d_t = g_t + λ_t (w_t − a) + ρ w_t
        m_t = β₁ m_{t−1} + (1 − β₁) d_t,   v_t = β₂ v_{t−1} + (1 − β₂) d_t²
        w_{t+1} = w_t − η_t / (k + 1) · (m_t / (1 − β₁ˢ)) / (√(v_t / (1 − β₂ˢ)) + ε)

    The moments are never reset. With `period=1`, or with `weight=0.0` and
    `inner_schedule="constant"`, this is Adam to the last bit. As in Optax, ε stands beside
    the corrected √v_t; in the authors' code it stands beside the raw one, where
    this ε would read ε√(1 − β₂ˢ).

    Args:
      learning_rate: η > 0, a number or a schedule of the step count.
      b1: β₁ in [0, 1), the decay of the first moment.
      b2: β₂ in [0, 1), the decay of the second moment.
      eps: ε > 0, in units of the gradient.
      weight: λ ≥ 0, the coefficient of the pull towards the anchor: a number, or a schedule of
        the step count such as `reference_weight`.
      period: S ≥ 1, the number of steps between two anchors.
      weight_decay: ρ ≥ 0, added to the gradient as ρw before the moments (not decoupled).
      amsgrad: put the running maximum of v_t in its place, taken of the raw moment and
        corrected afterwards as the authors do (Optax takes it of the corrected one).
      inner_schedule: `"harmonic"` takes the step η/(k + 1) of the published algorithm,
        `"constant"` keeps η.
      epoch_length: steps per epoch, where each epoch starts with a new anchor, so that
        k = (t mod epoch_length) mod S, as in the authors' training loop; None counts all steps
        in one row.

    Returns:
      The optimizer. Its `update` needs `params`; its state is the moments, one copy of the
      params and step counts.

    Raises:
      ValueError: if `period` or `epoch_length` is no positive integer or `inner_schedule`
        is unknown, or if `update` is called without `params`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> import optax
      >>> def loss(w): return jnp.sum(w**2)
      >>> optimizer = jn.transforms.tradam(0.1, weight=0.1, period=5)
      >>> params = jnp.array([1.0, -2.0])
      >>> state = optimizer.init(params)
      >>> for _ in range(20):
      ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> bool(loss(params) < 3.0)
      True

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Algorithm 1 and public code `TRAlgorithm`

      Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond", ICLR 2018, Algorithm 2
    """
    check_fraction(b1, "b1")
    check_fraction(b2, "b2")
    scale = scale_by_raw_amsgrad if amsgrad else optax.scale_by_adam
    moments = scale(b1, b2, eps)
    return _trajectory_regularized(
        moments, learning_rate, weight, period, weight_decay, inner_schedule, epoch_length
    )


def _trajectory_regularized(
    base: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    weight: optax.ScalarOrSchedule,
    period: jax.typing.ArrayLike,
    weight_decay: optax.ScalarOrSchedule,
    inner_schedule: str,
    epoch_length: jax.typing.ArrayLike | None,
) -> optax.GradientTransformationExtraArgs:
    """Puts `base`, a momentum or Adam's moments, between the pull and the step size."""
    check_coefficient(learning_rate, "learning_rate")
    check_coefficient(weight_decay, "weight_decay")
    inner_steps = {
        "harmonic": scale_by_inner_step(period, epoch_length=epoch_length),
        "constant": optax.identity(),
    }
    if inner_schedule not in list(inner_steps):
        raise ValueError(
            f"`inner_schedule` is unknown: {inner_schedule!r}, use one of {list(inner_steps)}."
        )
    return keep_dtypes(
        optax.chain(
            add_proximal_term(weight, period, epoch_length=epoch_length),
            optax.add_decayed_weights(weight_decay),
            base,
            inner_steps[inner_schedule],
            optax.scale_by_learning_rate(learning_rate),
        )
    )
