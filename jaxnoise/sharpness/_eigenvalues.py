"""Eigenvalues of the Hessian of the mean loss."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_choice, check_count, check_key, check_positive, check_whole
from .._results import Result
from .._tree import is_concrete
from ._around import Around, full_precision
from ._lanczos import lanczos_step, ritz_values, start_lanczos

# What the eigenvalues are sorted by: so much of λ and so much of |λ|.
_RANKS = {"largest": (1.0, 0.0), "smallest": (-1.0, 0.0), "magnitude": (0.0, 1.0)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class HessianEigenvalues(Result):
    """Eigenvalues of a Hessian, the wanted ones first.

    Attributes:
      values: (num,) λ, Rayleigh quotients of the vectors found.
      residuals: (num,) ‖Hv − λv‖ with ‖v‖ = 1: an eigenvalue lies within so much of λ.
      converged: (num,) whether the residual is within the tolerance.
      iterations: products with the Hessian before the check of the residuals.
      vectors: v, a pytree like params whose leaves have a leading (num,), or None.
    """

    values: Any
    residuals: Any
    converged: Any
    iterations: Any
    vectors: Any = None


def hessian_eigenvalues(
    loss_fn: Callable,
    params: Any,
    data: Any,
    num: int = 1,
    *,
    key: jax.Array,
    which: Literal["largest", "smallest", "magnitude"] = "largest",
    max_iterations: int = 50,
    tolerance: Any = 1e-3,
    vectors: bool = False,
    chunk_size: int | None = None,
) -> HessianEigenvalues:
    """Extreme eigenvalues of the Hessian H = ∇²L(w), by Lanczos' method.

    A random start and products with H span a Krylov space, within which H is tridiagonal. Its basis
    is fully re-orthogonalised. The iteration ends as soon as the estimated residuals of the wanted
    eigenvalues are within tolerance · max |λ|; the residuals in the result are then computed, not
    estimated. A product is streamed over the data, forward over reverse, and costs about two to
    three gradients. All of it is one compiled program; new values of parameters or data compile
    nothing anew. Memory is max_iterations copies of the parameters and a chunk of examples.

    An eigenvalue that is several times in the spectrum may be found fewer times. Where the network
    has kinks (ReLU), H is the Hessian of the smooth piece that w is in.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of d floating numbers; those of less than single precision are taken in it.
      data: batch of all n examples.
      num: number of eigenvalues, at most max_iterations and d.
      key: typed key, for the start.
      which: "largest" and "smallest" by sign, in falling and rising order; "magnitude" takes the
        largest |λ|.
      max_iterations: most products with H, not counting one per eigenvalue for its residual.
      tolerance: for the residuals, relative to the largest |λ|.
      vectors: whether to keep the eigenvectors.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `HessianEigenvalues`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, or a loss or a product with the Hessian is not finite.

    References:
      Lanczos, "An Iteration Method for the Solution of the Eigenvalue Problem of Linear
      Differential and Integral Operators", 1950. Parlett, "The Symmetric Eigenvalue Problem", 1998,
      chapter 13 (residuals, re-orthogonalisation).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * batch["x"] * (3.0 * w[0] ** 2 - w[1] ** 2)
      >>> data, w, key = {"x": jnp.ones(4)}, jnp.ones(2), jax.random.key(0)
      >>> result = jn.sharpness.hessian_eigenvalues(loss_fn, w, data, 2, key=key)
      >>> [round(float(x), 2) for x in result.values]
      [3.0, -1.0]
    """
    check_choice(which, "which", tuple(_RANKS))
    check_count(num, "num")
    check_whole(max_iterations, "max_iterations")
    check_positive(tolerance, "tolerance")
    check_key(key)
    around = Around.of(loss_fn, params, data, chunk_size)
    if num > (size := around.size):
        raise ValueError(f"num must be at most the number of parameters, {size}, got {num}")
    if num > max_iterations:
        raise ValueError(f"max_iterations must be at least num = {num}, got {max_iterations}")
    options = (num, min(max_iterations, size), vectors)
    with full_precision():
        result = _eigenvalues(around, key, tolerance, _RANKS[which], options)
    check_products(result.residuals)
    return result


@functools.partial(jax.jit, static_argnums=4)
def _eigenvalues(around: Around, key, tolerance, weights, options) -> HessianEigenvalues:
    num, max_steps, with_vectors = options
    center = around.center

    def rank(values):
        return weights[0] * values + weights[1] * jnp.abs(values)

    def wanted(state):
        """Columns, residuals and the largest |λ|."""
        values, columns, residuals = ritz_values(state)
        is_used = jnp.arange(max_steps) < state.steps
        chosen = jax.lax.top_k(jnp.where(is_used, rank(values), -jnp.inf), num)[1]
        largest = jnp.max(jnp.where(is_used, jnp.abs(values), 0))
        return columns[:, chosen], residuals[chosen], largest

    def goes_on(carry):
        state, is_done = carry
        return (state.steps < max_steps) & ~is_done

    def step(carry):
        state = lanczos_step(around.hessian_product, carry[0])
        _, residuals, largest = wanted(state)
        # Where the space is exhausted, another copy of an eigenvalue may be outside of it.
        is_exhausted = state.beside[state.steps - 1] <= tolerance * largest
        is_within = jnp.all(residuals <= tolerance * largest)
        return state, is_within & (state.steps >= num) & ~is_exhausted

    state = start_lanczos(key, around.size, max_steps, center.dtype)
    state, _ = jax.lax.while_loop(goes_on, step, (state, jnp.asarray(False)))
    columns, _, largest = wanted(state)
    found = columns.T @ state.basis[:-1]
    found = found / jnp.linalg.norm(found, axis=1, keepdims=True)

    def check(vector):
        image = around.hessian_product(vector)
        value = jnp.vdot(vector, image)
        return value, jnp.linalg.norm(image - value * vector)

    values, residuals = jax.lax.map(check, found)
    order = jnp.argsort(-rank(values))
    return HessianEigenvalues(
        values=values[order],
        residuals=residuals[order],
        converged=(residuals <= tolerance * largest)[order],
        iterations=state.steps,
        vectors=jax.vmap(around.unflatten)(found[order]) if with_vectors else None,
    )


def check_products(values: Any) -> None:
    if is_concrete(values) and not np.isfinite(values).all():
        raise ValueError(
            "loss_fn has no finite second derivatives at params: look for non-finite parameters or "
            "data, and for functions such as sqrt at 0"
        )
