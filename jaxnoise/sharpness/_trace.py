"""The trace of the Hessian of the mean loss."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import check_count, check_key
from .._results import Result
from ._around import Around, full_precision, map_jobs, side_by_side
from ._average import standard_error
from ._eigenvalues import check_products


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class HessianTrace(Result):
    """An unbiased estimate of the trace of a Hessian.

    Attributes:
      value: the estimate.
      standard_error: of the estimate; it falls as 1/√K.
      samples: (K,) independent estimates of which value is the mean.
    """

    value: Any
    standard_error: Any
    samples: Any


def hessian_trace(
    key: jax.Array,
    loss_fn: Callable,
    params: Any,
    data: Any,
    *,
    num_samples: int = 100,
    rank: int = 0,
    chunk_size: int | None = None,
) -> HessianTrace:
    """The trace of the Hessian H = ∇²L(w), estimated by Hutchinson's method or Hutch++.

        tr H ≈ tr QᵀHQ + (1/K) Σ_k z_kᵀ P H P z_k,   P = I − QQᵀ

    with random signs z_k. Q is an orthonormal basis of the span of H times `rank` random vectors.
    It takes the large eigenvalues out of the sum, exactly, which lowers the error a great deal
    where a few of them dominate. With rank 0 the first term is absent and P = I. Either way the
    estimate is unbiased, and the standard error follows from the K terms; with rank 0 and
    symmetric H it is √(2 Σ_{i≠j} H_ij² / K).

    It costs K + 2·rank products with H, each about two to three gradients over the data. Memory is
    two times `rank` copies of the parameters and a chunk of examples.

    Args:
      key: typed key.
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of d floating numbers; those of less than single precision are taken in it.
      data: batch of all n examples.
      num_samples: K ≥ 2.
      rank: columns of Q, less than d.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `HessianTrace`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, or a loss or a product with the Hessian is not finite.

    References:
      Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
      Smoothing Splines", 1990. Meyer, Musco, Musco, Woodruff, "Hutch++: Optimal Stochastic Trace
      Estimation", 2021, algorithm 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * batch["x"] * (3.0 * w[0] ** 2 - w[1] ** 2)
      >>> data = {"x": jnp.ones(4)}
      >>> result = jn.sharpness.hessian_trace(jax.random.key(0), loss_fn, jnp.ones(2), data)
      >>> float(result.value), float(result.standard_error)  # exact where H is diagonal
      (2.0, 0.0)
    """
    check_key(key)
    check_count(num_samples, "num_samples", 2)
    check_count(rank, "rank", 0)
    around = Around.of(loss_fn, params, data, chunk_size)
    if rank >= (size := around.size):
        raise ValueError(f"rank must be less than the number of parameters, {size}, got {rank}")
    with full_precision():
        result = _trace(around, key, num_samples, rank)
    check_products(result.samples)
    return result


@functools.partial(jax.jit, static_argnums=(2, 3))
def _trace(around: Around, key, num_samples, rank) -> HessianTrace:
    center = around.center
    at_once = side_by_side(around)
    basis_key, key = jax.random.split(key)

    def signs(key):
        return jax.random.rademacher(key, center.shape, center.dtype)

    basis, exact = jnp.zeros((0, around.size), center.dtype), 0.0
    if rank > 0:
        keys = jax.random.split(basis_key, rank)
        images = map_jobs(lambda key: around.hessian_product(signs(key)), keys, at_once)
        basis = jnp.linalg.qr(images.T)[0].T
        exact = jnp.sum(basis * map_jobs(around.hessian_product, basis, at_once))

    def sample(key):
        z = signs(key)
        z = z - (basis @ z) @ basis
        return exact + jnp.vdot(z, around.hessian_product(z))

    samples = map_jobs(sample, jax.random.split(key, num_samples), at_once)
    return HessianTrace(jnp.mean(samples), standard_error(samples), samples)
