"""How much the noise of SGD smooths the loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_numbers
from .._tree import is_concrete


def degree_of_smoothing(learning_rate: Any, batch_size: Any, noise_std: Any) -> jax.Array:
    """The radius δ at which SGD's noise smooths the loss on average.

        δ = ηC/√b,   f̂_δ(x) = E_u[f(x − δu)]

    Halving η does as much as quadrupling b. With f̂_δ the mean over u ~ N(0, I/d) this is exact for
    noise of that shape, whose mean square is C²/b. With u uniform in the unit ball of d dimensions,
    δ must be √((d + 2)/d) times as large for the same second moment; the factor is near 1 for
    networks but √3 on a line.

    Args:
      learning_rate: η.
      batch_size: b > 0.
      noise_std: C, with E‖ω‖² = C²/b for the noise of a batch, as `jn.gradients.noise_std` gives.
        Arrays are broadcast against each other.

    Returns:
      δ, in units of the parameters.

    Raises:
      ValueError: if a batch size is not positive.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, section 3.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.schedules.degree_of_smoothing(0.5, batch_size=64, noise_std=4.0))
      0.25
    """
    given = {"learning_rate": learning_rate, "batch_size": batch_size, "noise_std": noise_std}
    for name, value in given.items():
        check_numbers(value, name)
    if is_concrete(batch_size) and not (np.asarray(batch_size) > 0).all():
        raise ValueError(f"batch_size must be positive, got {batch_size}")
    eta, b, c = (jnp.asarray(x, float) for x in given.values())
    return eta * c / jnp.sqrt(b)
