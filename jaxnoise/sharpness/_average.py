"""The mean increase of the loss under random perturbations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .._checks import check_choice, check_count, check_key, check_positive, check_single
from .._results import Result
from ._around import Around, check_finite_nearby, full_precision, map_jobs, side_by_side
from ._ellipsoid import uniform_in_ball
from ._worst_case import Scaling, scales

Distribution = Literal["gaussian", "uniform", "ball"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class AverageSharpness(Result):
    """The mean increase of the loss under random perturbations.

    Attributes:
      value: the estimate of E L(w + δ) − L(w).
      standard_error: of the estimate.
      samples: (K,) increases, each the mean of those at δ and −δ.
      loss: L(w).
    """

    value: Any
    standard_error: Any
    samples: Any
    loss: Any


def average_sharpness(
    key: jax.Array,
    loss_fn: Callable,
    params: Any,
    data: Any,
    rho: Any,
    *,
    num_samples: int = 100,
    scaling: Scaling = "none",
    distribution: Distribution = "gaussian",
    chunk_size: int | None = None,
) -> AverageSharpness:
    """The mean increase of the loss under random perturbations, with its standard error.

        S = E_δ L(w + δ) − L(w),   δ = ρ c ∘ ξ

    with c = 1, or c = |w| for the adaptive sharpness. The estimate is the mean over K independent
    ξ of the increases at δ and −δ. Together these cancel the slope, so that what remains is the
    curvature: for small ρ and normal ξ, S ≈ (ρ²/2) Σ_i c_i² ∂²L/∂w_i². It may be negative.

    It costs 2K forward passes over the data. Perturbations are drawn where they are needed, a few
    at a time.

    Args:
      key: typed key.
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of d floating numbers; those of less than single precision are taken in it.
      data: batch of all n examples.
      rho: ρ > 0, in units of the weights, or relative to them with scaling "magnitude".
      num_samples: K ≥ 2.
      scaling: c, "none" or "magnitude".
      distribution: of ξ: "gaussian" is N(0, I); "uniform" is uniform in [−1, 1]^d, the ball of the
        ℓ∞ norm; "ball" is uniform in the unit ball of the ℓ₂ norm.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `AverageSharpness`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, or a loss is not finite.

    References:
      Andriushchenko, Croce, Müller, Hein, Flammarion, "A Modern Look at the Relationship between
      Sharpness and Generalization", 2023, eq. 1 (average-case).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: batch["x"] * jnp.sum(w**2)  # L = 2 ‖w‖², S = 2 d ρ²
      >>> data, w = {"x": jnp.array([1.0, 3.0])}, jnp.ones(1000)
      >>> result = jn.sharpness.average_sharpness(jax.random.key(0), loss_fn, w, data, 0.1)
      >>> bool(abs(result.value - 20.0) < 4 * result.standard_error)
      True
    """
    check_key(key)
    check_choice(scaling, "scaling", ("none", "magnitude"))
    check_choice(distribution, "distribution", ("gaussian", "uniform", "ball"))
    check_single(rho, "rho")
    check_positive(rho, "rho")
    check_count(num_samples, "num_samples", 2)
    around = Around.of(loss_fn, params, data, chunk_size)
    with full_precision():
        result = _average(around, key, rho, (num_samples, scaling, distribution))
    check_finite_nearby(result.samples, "rho")
    return result


@functools.partial(jax.jit, static_argnums=3)
def _average(around: Around, key, rho, options) -> AverageSharpness:
    num_samples, scaling, distribution = options
    center = around.center
    scale = jnp.asarray(rho, center.dtype) * scales(center, scaling)
    draw = {
        "gaussian": jax.random.normal,
        "uniform": functools.partial(jax.random.uniform, minval=-1.0, maxval=1.0),
        "ball": uniform_in_ball,
    }[distribution]

    def sample(key):
        delta = scale * draw(key, shape=center.shape, dtype=center.dtype)
        signs = jnp.array([1, -1], delta.dtype)
        return jnp.mean(jax.lax.map(lambda sign: around.increase(sign * delta), signs))

    keys = jax.random.split(key, num_samples)
    samples = map_jobs(sample, keys, side_by_side(around))
    return AverageSharpness(jnp.mean(samples), standard_error(samples), samples, around.mean_loss)


def standard_error(samples: jax.Array) -> jax.Array:
    """Of the mean of independent samples."""
    largest = jnp.max(jnp.abs(samples))
    scale = jnp.where(largest > 0, largest, 1)  # the squares of large numbers overflow
    count = jnp.asarray(samples.size, samples.dtype)
    return scale * jnp.std(samples / scale, ddof=1) / jnp.sqrt(count)
