"""Random directions u of mean zero: uniform in the unit ball, or normal with E‖u‖² = 1.

A direction is made of a point in a unit cube, so that points of low discrepancy can take the place
of random ones. It is made where it is needed, from a seed: all directions are never held at once.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Distribution = Literal["ball", "gaussian"]
Method = Literal["antithetic", "monte_carlo", "quasi_monte_carlo"]
DISTRIBUTIONS = ("ball", "gaussian")
METHODS = ("antithetic", "monte_carlo", "quasi_monte_carlo")

_MOST_NUMBERS = 2**24  # of a point set of low discrepancy, which stands in the program


def seeds(
    key: jax.Array, num_samples: int, dimension: int, distribution: Distribution, method: Method
) -> jax.Array:
    """What each direction is made of: a key, or a point of the unit cube.

    Returns:
      (draws,) keys, ⌈num_samples/2⌉ of them for "antithetic", which takes each direction with its
      opposite; or (num_samples, c) points of a Sobol' sequence, moved by one random vector modulo 1
      so that each is uniform in the cube.
    """
    if method != "quasi_monte_carlo":
        pairs = method == "antithetic"
        return jax.random.split(key, math.ceil(num_samples / 2) if pairs else num_samples)
    from scipy.stats import qmc

    size = _cube_dimension(dimension, distribution)
    if size > qmc.Sobol.MAXDIM or num_samples * size > _MOST_NUMBERS:
        raise ValueError(
            f"method 'quasi_monte_carlo' can't take {num_samples} samples in {dimension} "
            "dimensions: take 'antithetic'"
        )
    points = qmc.Sobol(size, scramble=False).random_base2(math.ceil(math.log2(num_samples)))
    shift = jax.random.uniform(key, (size,))
    return (jnp.asarray(points[:num_samples], shift.dtype) + shift) % 1


def directions(
    seeds: jax.Array, dimension: int, distribution: Distribution, dtype: DTypeLike
) -> jax.Array:
    """(B, d) the directions of as many seeds."""
    if jnp.issubdtype(seeds.dtype, jax.dtypes.prng_key):
        size = _cube_dimension(dimension, distribution)
        points = jax.vmap(lambda key: jax.random.uniform(key, (size,), dtype))(seeds)
    else:
        points = seeds.astype(dtype)
    if distribution == "ball" and dimension == 1:
        return 2 * points - 1
    most = 1 - jnp.finfo(dtype).eps
    normal = math.sqrt(2) * jax.lax.erf_inv(jnp.clip(2 * points[:, :dimension] - 1, -most, most))
    if distribution == "gaussian":
        return normal / math.sqrt(dimension)
    unit = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    return unit * points[:, dimension:] ** (1 / dimension)


def _cube_dimension(dimension: int, distribution: Distribution) -> int:
    """One more where the radius is drawn by itself."""
    return dimension + (distribution == "ball" and dimension > 1)
