"""The size C of the gradient noise, measured or concluded from a critical batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_numbers
from .._tree import is_concrete
from ._profile import noise_profile


def noise_std(
    loss_fn: Callable, params: Any, data: Any, *, chunk_size: int | None = None
) -> jax.Array:
    """The standard deviation C of the component gradients around their mean.

        C = √tr Σ,   E‖ω‖² = C²/b   for the noise ω of a batch of b independent examples

    The trace is the unbiased estimate for the distribution that the examples come from. For batches
    drawn from these n examples with replacement, E‖ω‖² is (n − 1)/n of C²/b, exactly; without
    replacement it is (1 − b/n) of it.

    Args:
      loss_fn, params, data, chunk_size: as for `noise_profile`, which gives the parts of C² by
        layer, too.

    Returns:
      C, a number.

    Raises:
      ValueError: if there are fewer than two examples, loss_fn gives anything but (B,) losses or
        couples examples, or a gradient is not finite.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 3 (C).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * (batch["x"] - w) ** 2
      >>> data = {"x": jnp.array([1.0, 3.0, 5.0])}
      >>> float(jn.gradients.noise_std(loss_fn, jnp.array(0.0), data))
      2.0
    """
    return jnp.sqrt(noise_profile(loss_fn, params, data, chunk_size=chunk_size).covariance_trace)


def variance_from_critical_batch(
    batch_size: Any, epsilon: Any, learning_rate: Any, smoothness: Any = None
) -> jax.Array:
    """C², concluded from the batch size b* at which training takes the fewest gradients.

        C² = b* ε² (2 − Lη) / (2Lη)      with the smoothness L
        C² = b* ε² / η                   without it, as in the paper

    For an L-smooth loss, the known bound on SGD brings the mean squared gradient norm below ε² in
    K(b) = A b / (ε² b − LηC²/(2 − Lη)) steps; K(b)·b is least at b* = 2LηC²/((2 − Lη)ε²), which is
    the first line. The second has L = 1 and leaves out −Lη beside 2, so that it is off by the
    dimension of L: its number depends on the units of the parameters. Take it to compare with the
    paper's table, and the first line for anything else. Both speak of the bound: how near they come
    to the true variance depends on how tight that is. `noise_std` measures C from the gradients.

    Args:
      batch_size: b*, in examples.
      epsilon: ε, the norm of the gradient at which training was stopped.
      learning_rate: η.
      smoothness: L, the Lipschitz constant of the gradient, with Lη < 2; None takes the paper's
        form. Arrays are broadcast against each other.

    Returns:
      C² (not C).

    Raises:
      ValueError: if a value is not positive, or Lη is 2 or more.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, appendix C.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.gradients.variance_from_critical_batch(256, 0.5, 0.5))
      128.0
      >>> float(jn.gradients.variance_from_critical_batch(256, 0.5, 0.5, smoothness=2.0))
      32.0
    """
    given = {"batch_size": batch_size, "epsilon": epsilon, "learning_rate": learning_rate}
    if smoothness is not None:
        given["smoothness"] = smoothness
    for name, value in given.items():
        check_numbers(value, name)
        if is_concrete(value) and not (np.asarray(value) > 0).all():
            raise ValueError(f"{name} must be positive, got {value}")
    b, epsilon, eta = (jnp.asarray(x, float) for x in (batch_size, epsilon, learning_rate))
    if smoothness is None:
        return b * epsilon**2 / eta
    decrease = jnp.asarray(smoothness, float) * eta
    if is_concrete(decrease) and not (np.asarray(decrease) < 2).all():
        raise ValueError("smoothness · learning_rate must be below 2, or no step size bound holds")
    return b * epsilon**2 * (2 - decrease) / (2 * decrease)
