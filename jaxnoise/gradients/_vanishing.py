"""How many component gradients vanish, and how large the others are."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_numbers
from .._results import Result
from .._tree import common_dtype, is_concrete


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class VanishingGradients(Result):
    """The split of the component gradients at a threshold.

    Attributes:
      tau: threshold(s) on the squared norm, any shape.
      fraction: p_τ = P(‖g‖² ≤ τ), shaped like tau.
      tail_mean: M_τ = E[‖g‖² | ‖g‖² > τ], shaped like tau; 0 where none is left.
    """

    tau: Any
    fraction: Any
    tail_mean: Any


def vanishing(squared_norms: jax.Array, tau: Any) -> VanishingGradients:
    """p_τ, the fraction of vanishing component gradients, and M_τ, the mean of the others.

        p_τ = P(‖g‖² ≤ τ),   M_τ = E[‖g‖² | ‖g‖² > τ],   E‖g‖² ≤ p_τ τ + (1 − p_τ) M_τ

    The threshold is on squared norms.

    Args:
      squared_norms: (n,) squared gradient norms of the components (examples or mini-batches).
      tau: threshold, at least 0; a number or an array of them.

    Returns:
      `VanishingGradients`.

    Raises:
      ValueError: if there are no norms, or a value is negative or not finite.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> result = jn.gradients.vanishing(jnp.array([0.0, 0.1, 4.0, 6.0]), 0.5)
      >>> float(result.fraction), float(result.tail_mean)
      (0.5, 5.0)
    """
    check_numbers(squared_norms, "squared_norms")
    check_numbers(tau, "tau")
    norms, tau = jnp.asarray(squared_norms), jnp.asarray(tau, float)
    if norms.ndim != 1 or norms.size == 0:
        raise ValueError(f"squared_norms must be of shape (n,) with n ≥ 1, got {norms.shape}")
    if is_concrete(norms) and not (np.isfinite(norms).all() and (np.asarray(norms) >= 0).all()):
        raise ValueError("squared_norms holds values that are negative or not finite")
    if is_concrete(tau) and not (np.asarray(tau) >= 0).all():
        raise ValueError("tau must be at least 0: it is a threshold on squared norms")
    return _vanishing(norms, tau)


@jax.jit
def _vanishing(norms: jax.Array, tau: jax.Array) -> VanishingGradients:
    common = common_dtype(norms.dtype, tau.dtype)
    vanished = norms.astype(common) <= tau.astype(common)[..., None]
    left = jnp.sum(~vanished, axis=-1)
    tail = jnp.sum(jnp.where(vanished, 0, norms), axis=-1)
    fraction = jnp.mean(vanished, axis=-1, dtype=tau.dtype)
    return VanishingGradients(tau, fraction, tail / jnp.maximum(left, 1).astype(tail.dtype))
