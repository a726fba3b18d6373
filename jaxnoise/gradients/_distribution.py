"""Projections of the gradient noise on random directions, and how normal they are."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding

from .._checks import check_count, check_key, check_numbers
from .._results import Result
from .._streaming import default_chunk_size, has_convolutions, map_examples, spread
from .._tree import common_dtype, is_concrete
from ._per_example import prepare_spread

_VMAP_DIRECTIONS = 8  # directions side by side where the network is dense


def noise_projections(
    key: jax.Array,
    loss_fn: Callable,
    params: Any,
    data: Any,
    num_projections: int,
    *,
    chunk_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """The noise of the component gradients along random directions, ⟨g_i − ḡ, v_k⟩.

    The v_k are independent and uniform on the unit sphere of the parameters. Each ⟨g_i, v_k⟩ is the
    derivative of the loss of example i along v_k, by forward-mode differentiation: the gradients
    themselves are never formed. Directions are drawn anew from their keys where they are needed, so
    that memory holds a chunk of examples and at most eight directions, whatever their number.

    Args:
      key: typed key.
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: pytree of floating arrays.
      data: batch of all n ≥ 2 examples.
      num_projections: K, number of directions.
      chunk_size: most examples at a time; None takes about a million numbers of input.
      sharding: how to distribute the examples over devices, see `squared_norms`.

    Returns:
      (n, K) projections in example order; each column has mean zero.

    Raises:
      TypeError: if key is no typed key.
      ValueError: if there are fewer than two examples or no directions, loss_fn gives anything but
        (B,) losses or couples examples, or a projection is not finite.

    References:
      Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of
      Implicit Graduated Optimization with Optimal Noise Scheduling", 2023, figure 8 (there single
      components of the noise).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: batch["x"] @ w
      >>> data = {"x": jnp.array([[3.0], [-1.0]])}
      >>> abs(jn.gradients.noise_projections(jax.random.key(0), loss_fn, jnp.ones(1), data, 1))
      Array([[2.],
             [2.]], dtype=float32)
    """
    check_key(key)
    check_count(num_projections, "num_projections")
    loss_fn, params, examples = prepare_spread(loss_fn, params, data, chunk_size, "data", sharding)
    if examples.n < 2:
        raise ValueError("data must hold at least two examples: one has no noise")
    keys = jax.random.split(key, num_projections)
    slopes, _ = examples.finish(_slopes(keys, loss_fn, params, examples, chunk_size))
    if is_concrete(slopes) and (bad := np.flatnonzero(~np.isfinite(slopes).all(1))).size:
        raise ValueError(
            f"the gradient of example {bad[0]} is not finite ({bad.size} such examples): look for "
            "non-finite parameters or data"
        )
    return slopes - jnp.mean(slopes, axis=0)


@functools.partial(jax.jit, static_argnums=4)
def _slopes(keys, loss_fn, params, examples, chunk_size) -> jax.Array:
    """(n, K) ⟨g_i, v_k⟩."""

    def work(data, counted, so_far, keys, loss_fn, params):
        del counted, so_far
        size = chunk_size or default_chunk_size(data)

        def along(key):
            direction = _unit_direction(key, params)

            def slopes(chunk):
                return jax.jvp(lambda w: loss_fn(w, chunk), (params,), (direction,))[1]

            return map_examples(slopes, data, size)

        if has_convolutions(loss_fn, params, data):
            return jax.lax.map(along, keys).T, ()
        return map_examples(jax.vmap(along), keys, _VMAP_DIRECTIONS).T, ()

    return spread(work, examples, None, keys, loss_fn, params)[0]


def _unit_direction(key: jax.Array, params: Any) -> Any:
    """Uniform on the unit sphere of all parameters together."""
    flat, unflatten = ravel_pytree(params)
    normal = jax.random.normal(key, flat.shape, common_dtype(flat.dtype, jnp.float32))
    return unflatten((normal / jnp.linalg.norm(normal)).astype(flat.dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Normality(Result):
    """How far samples, a column each, are from normal.

    Attributes:
      skewness: (K,) third standardised moment; 0 for a normal.
      excess_kurtosis: (K,) fourth standardised moment less 3; 0 for a normal.
      anderson_darling: (K,) the statistic A², mean and variance estimated.
      p_value: (K,) probability of so large an A² in a normal sample; none is below 3e-24.
      tail_index: (K,) Hill's estimate α̂ of P(|x| > r) ∝ r^−α in the tail.
    """

    skewness: Any
    excess_kurtosis: Any
    anderson_darling: Any
    p_value: Any
    tail_index: Any


def normality(projections: Any) -> Normality:
    """Statistics of how normal the columns of a sample are, each standardised first.

    With z_(1) ≤ … ≤ z_(n) the standardised sample and a_(1) ≥ … ≥ a_(n) its absolute values:

        A² = −n − (1/n) Σ_i (2i − 1) [ln Φ(z_(i)) + ln Φ(−z_(n+1−i))]
        1/α̂ = (1/k) Σ_{i≤k} ln(a_(i) / a_(k+1)),   k = ⌊√n⌋

    A large sample shows the least departure from normal: look at the sizes of the statistics, too,
    not at p-values alone. An α̂ below 2 speaks for tails so heavy that the variance is infinite. The
    tail of a normal is lighter than any power's; α̂ is then about 7 for n = 1,000, 9 for 10,000 and
    11 for 60,000. Computed on the host in double precision.

    Args:
      projections: (n, K) samples with n ≥ 8, as from `noise_projections`; (n,) counts as (n, 1).

    Returns:
      `Normality`.

    Raises:
      ValueError: if there are fewer than 8 values, one is not finite, or a column is constant.

    References:
      Stephens, "Tests Based on EDF Statistics", in D'Agostino, Stephens, "Goodness-of-Fit
      Techniques", 1986, table 4.9 (p-values). Hill, "A Simple General Approach to Inference About
      the Tail of a Distribution", 1975. Şimşekli, Sagun, Gürbüzbalaban, "A Tail-Index Analysis of
      Stochastic Gradient Noise in Deep Neural Networks", 2019.

    Example:
      >>> import numpy as np
      >>> import jaxnoise as jn
      >>> result = jn.gradients.normality(np.arange(9.0))
      >>> result.skewness.round(2), result.excess_kurtosis.round(2)
      (array([0.]), array([-1.23]))
    """
    z = standardize(projections)
    n = len(z)
    if n < 8:
        raise ValueError(f"projections must hold at least 8 examples, got {n}")
    statistic = _anderson_darling(z)
    return Normality(
        skewness=np.mean(z**3, axis=0),
        excess_kurtosis=np.mean(z**4, axis=0) - 3,
        anderson_darling=statistic,
        p_value=_anderson_darling_p_value(statistic, n),
        tail_index=_hill(np.abs(z), math.isqrt(n)),
    )


def standardize(projections: Any) -> np.ndarray:
    """(n, K) columns of mean 0 and mean square 1, on the host in double precision."""
    check_numbers(projections, "projections")
    x = np.asarray(projections, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"projections must be of shape (n, K) or (n,), got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("projections holds values that are not finite")
    if (constant := np.flatnonzero(x.max(0) == x.min(0))).size:
        raise ValueError(f"projections is constant in column {constant[0]}: it has no distribution")
    centered = x - x.mean(0)
    centered /= np.abs(centered).max(0)  # no square is lost below the smallest number
    return centered / np.sqrt(np.mean(centered**2, axis=0))


def _anderson_darling(z: np.ndarray) -> np.ndarray:
    from scipy.special import log_ndtr  # takes a sixth of a second to import

    n = len(z)
    z = np.sort(z * np.sqrt((n - 1) / n), axis=0)  # by the unbiased variance, as in the tables
    odd = 2 * np.arange(1, n + 1)[:, None] - 1
    return -n - np.sum(odd * (log_ndtr(z) + log_ndtr(-z[::-1])), axis=0) / n


def _anderson_darling_p_value(statistic: np.ndarray, n: int) -> np.ndarray:
    """Stephens' fit, of which each piece holds from the threshold beside it on, the first to 10."""
    a = np.minimum(statistic * (1 + 0.75 / n + 2.25 / n**2), 10)
    pieces = [
        (a >= 0.6, np.exp(1.2937 - 5.709 * a + 0.0186 * a**2)),
        (a >= 0.34, np.exp(0.9177 - 4.279 * a - 1.38 * a**2)),
        (a >= 0.2, 1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2)),
    ]
    lowest = 1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2)
    return np.select(*map(list, zip(*pieces, strict=True)), default=lowest)


def _hill(sizes: np.ndarray, k: int) -> np.ndarray:
    largest = np.sort(sizes, axis=0)[::-1][: k + 1]
    logs = np.log(np.maximum(largest, np.finfo(float).tiny))
    with np.errstate(divide="ignore"):  # inf where the largest are all alike
        return 1 / np.mean(logs[:k] - logs[k], axis=0)
