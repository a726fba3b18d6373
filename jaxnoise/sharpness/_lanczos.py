"""Lanczos' method for any symmetric operator, with full re-orthogonalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Lanczos(NamedTuple):
    """An orthonormal basis in which the operator is tridiagonal.

    Attributes:
      basis: (m + 1, d) orthonormal rows, zero from row steps + 1 on.
      diagonal: (m,) of the tridiagonal matrix, zero from entry `steps` on.
      beside: (m,) entries beside the diagonal; the one at steps − 1 is the norm of what is left.
      steps: how many have been taken.
      key: for a new direction where the space is exhausted.
    """

    basis: jax.Array
    diagonal: jax.Array
    beside: jax.Array
    steps: jax.Array
    key: jax.Array


def start_lanczos(key: jax.Array, size: int, max_steps: int, dtype: jnp.dtype) -> Lanczos:
    """Before the first step, from a direction uniform on the sphere."""
    key, own = jax.random.split(key)
    start = jax.random.normal(own, (size,), dtype)
    basis = jnp.zeros((max_steps + 1, size), dtype).at[0].set(start / jnp.linalg.norm(start))
    zeros = jnp.zeros(max_steps, dtype)
    return Lanczos(basis, zeros, zeros, jnp.zeros((), jnp.int32), key)


def lanczos_step(product: Callable, state: Lanczos) -> Lanczos:
    """One product with the operator. Where it leads nowhere new, a random direction goes on."""
    basis, diagonal, beside, k, key = state
    image = product(basis[k])
    diagonal = diagonal.at[k].set(jnp.vdot(basis[k], image))
    rest = _orthogonal(basis, image)
    norm = jnp.linalg.norm(rest)
    size = jnp.max(jnp.abs(diagonal)) + jnp.max(beside)
    is_exhausted = norm <= 10 * jnp.finfo(norm.dtype).eps * size

    def another():
        fresh = jax.random.normal(jax.random.fold_in(key, k), image.shape, image.dtype)
        return _orthogonal(basis, fresh)

    rest = jax.lax.cond(is_exhausted, another, lambda: rest)
    return Lanczos(
        basis=basis.at[k + 1].set(rest / jnp.linalg.norm(rest)),
        diagonal=diagonal,
        beside=beside.at[k].set(jnp.where(is_exhausted, 0, norm)),
        steps=k + 1,
        key=key,
    )


def ritz_values(state: Lanczos) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Eigenvalues of the tridiagonal matrix in ascending order; the first `steps` of them count.

    Returns:
      (values (m,), vectors (m, m) in columns, residuals (m,)).
    """
    diagonal, beside, steps = state.diagonal, state.beside, state.steps
    is_used = jnp.arange(len(diagonal)) < steps
    bound = jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(beside)  # above every eigenvalue
    inner = jnp.where(jnp.arange(len(diagonal)) < steps - 1, beside, 0)[:-1]
    matrix = jnp.diag(jnp.where(is_used, diagonal, 2 * bound + 1))
    values, vectors = jnp.linalg.eigh(matrix + jnp.diag(inner, 1) + jnp.diag(inner, -1))
    return values, vectors, jnp.abs(beside[steps - 1] * vectors[steps - 1])


def _orthogonal(basis: jax.Array, vector: jax.Array) -> jax.Array:
    """What is left of the vector outside the rows' span; twice is enough."""
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector
