"""Functions with many minima, to try optimizers on, with what is known about them.

Each takes points (…, d), of any dimension d where nothing else is said, and gives values (…); a
single number is a point of one dimension, and what is no number a TypeError. `PROBLEMS` says of
each where it is usually searched and where its global minimum lies.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import check_numbers
from .._tree import wide
from ._closed_forms import mean_square, smoothed_cosines
from ._directions import Distribution
from ._waves import cosine, cosine_of_turns, sine, sine_of_turns


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function and its global minimum, which lies where all coordinates are equal.

    Attributes:
      function: (…, d) → (…).
      lower: least coordinate of the usual domain.
      upper: largest coordinate of the usual domain.
      coordinate: each coordinate of the global minimiser.
      constant: the minimum, except for …
      per_dimension: … what each dimension adds to it.
    """

    function: Callable[[jax.Array], jax.Array]
    lower: float
    upper: float
    coordinate: float
    constant: float = 0.0
    per_dimension: float = 0.0

    def minimizer(self, dimension: int) -> np.ndarray:
        """(d,) the global minimiser."""
        return np.full(dimension, self.coordinate)

    def minimum(self, dimension: int) -> float:
        """The least value."""
        return self.constant + self.per_dimension * dimension


def rastrigin(x: Any) -> jax.Array:
    """A bowl with a well near every point of whole numbers.

        f(x) = Σ_i x_i² + 10(1 − cos 2πx_i)

    Args:
      x: (…, d), usually in [−5.12, 5.12].

    Returns:
      (…) values; the minimum is 0 at 0.

    References:
      Rastrigin, "Systems of Extremal Control", 1974.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.smoothing.functions.rastrigin([0.5, 0.0]))
      20.25
    """
    x = _points(x)
    return jnp.sum(x**2 + 10 * (1 - cosine_of_turns(x)), -1)


def rastrigin_smoothed(x: Any, delta: Any, distribution: Distribution = "ball") -> jax.Array:
    """Rastrigin's function smoothed, exactly.

        f̂_δ(x) = Σ_i [x_i² + 10(1 − φ(2πδ) cos 2πx_i)] + δ² E‖u‖²

    with φ of `jn.smoothing.cosine_factor`.

    Args:
      x: (…, d).
      delta: δ.
      distribution: of u, "ball" or "gaussian".

    Returns:
      (…) values.

    Example:
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.functions.rastrigin_smoothed(0.5, 1.0)), 4)  # 0.25 + 10 + 1/3
      10.5833
    """
    x = _points(x)
    d = x.shape[-1]
    waves = smoothed_cosines(x, delta, 10.0, 2 * math.pi, distribution)
    return jnp.sum(x**2, -1) + 10 * d + delta**2 * mean_square(d, distribution) - waves


def ackley(x: Any) -> jax.Array:
    """A wide funnel with small wells and a sharp tip.

        f(x) = 20(1 − exp(−0.2 √(‖x‖²/d))) + e − exp(Σ_i cos(2πx_i)/d)

    Args:
      x: (…, d), usually in [−32.768, 32.768].

    Returns:
      (…) values; the minimum is 0 at 0, where the gradient jumps (0 is returned for it).

    References:
      Ackley, "A Connectionist Machine for Genetic Hillclimbing", 1987.

    Example:
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.functions.ackley([1.0, 1.0])), 4)
      3.6254
    """
    x = _points(x)
    funnel = -20 * jnp.expm1(-0.2 * _norm(x) / math.sqrt(x.shape[-1]))
    return funnel - math.e * jnp.expm1(jnp.mean(cosine_of_turns(x), -1) - 1)


def drop_wave(x: Any) -> jax.Array:
    """Rings of waves around a drop.

        f(x) = −(1 + cos 12‖x‖)/(‖x‖²/2 + 2)

    Args:
      x: (…, d), usually of two dimensions, in [−5.12, 5.12].

    Returns:
      (…) values; the minimum is −1 at 0.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.smoothing.functions.drop_wave([0.0, 0.0]))
      -1.0
    """
    r = _norm(_points(x))
    return -(1 + cosine(12 * r)) / (r**2 / 2 + 2)


def griewank(x: Any) -> jax.Array:
    """A very wide bowl under waves that the coordinates share.

        f(x) = 1 + ‖x‖²/4000 − Π_i cos(x_i/√i)

    Args:
      x: (…, d), usually in [−600, 600].

    Returns:
      (…) values; the minimum is 0 at 0.

    References:
      Griewank, "Generalized Descent for Global Optimization", 1981.

    Example:
      >>> import math
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.functions.griewank([math.pi, 0.0])), 4)
      2.0025
    """
    x = _points(x)
    waves = cosine(x / np.sqrt(np.arange(1, x.shape[-1] + 1)).astype(x.dtype))
    return 1 + jnp.sum(x**2, -1) / 4000 - jnp.prod(waves, -1)


def styblinski_tang(x: Any) -> jax.Array:
    """Two wells of different depth in each coordinate.

        f(x) = ½ Σ_i x_i⁴ − 16x_i² + 5x_i

    Args:
      x: (…, d), usually in [−5, 5].

    Returns:
      (…) values; the minimum is −39.16617 d where all x_i are −2.903534.

    References:
      Styblinski, Tang, "Experiments in Nonconvex Optimization: Stochastic Approximation with
      Function Smoothing and Simulated Annealing", 1990.

    Example:
      >>> import jaxnoise as jn
      >>> float(jn.smoothing.functions.styblinski_tang([1.0, -2.0]))
      -34.0
    """
    x = _points(x)
    return jnp.sum(x**4 - 16 * x**2 + 5 * x, -1) / 2


def levy(x: Any) -> jax.Array:
    """A bowl under waves whose height grows with the distance.

        f(x) = sin²πw_1 + Σ_{i<d} (w_i − 1)²(1 + 10 sin²(πw_i + 1)) + (w_d − 1)²(1 + sin²2πw_d)

    with w = 1 + (x − 1)/4.

    Args:
      x: (…, d), usually in [−10, 10].

    Returns:
      (…) values; the minimum is 0 where all x_i are 1.

    References:
      Laguna, Martí, "Experimental Testing of Advanced Scatter Search Designs for Global
      Optimization of Multimodal Functions", 2005.

    Example:
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.functions.levy([3.0, 1.0])), 4)
      1.9798
    """
    w = 1 + (_points(x) - 1) / 4
    first, rest, last = w[..., 0], w[..., :-1], w[..., -1]
    inner = (rest - 1) ** 2 * (1 + 10 * sine(math.pi * rest + 1) ** 2)
    end = (last - 1) ** 2 * (1 + sine_of_turns(last) ** 2)
    return sine_of_turns(first / 2) ** 2 + jnp.sum(inner, -1) + end


def multi_well(x: Any) -> jax.Array:
    """Wells of uneven depth, and the lowest to the left of the bowl they lie in.

        f(x) = Σ_i x_i²/10 + sin 3x_i

    Args:
      x: (…, d), usually of one dimension, in [−6, 6], where it has six wells.

    Returns:
      (…) values; the minimum is −0.973180 d where all x_i are −0.512214.

    Example:
      >>> import math
      >>> import jaxnoise as jn
      >>> round(float(jn.smoothing.functions.multi_well(math.pi / 2)), 4)  # π²/40 − 1
      -0.7533
    """
    x = _points(x)
    return jnp.sum(x**2 / 10 + sine(3 * x), -1)


#: Where each function is searched and where its global minimum lies, by name.
PROBLEMS: dict[str, Problem] = {
    "rastrigin": Problem(rastrigin, -5.12, 5.12, 0.0),
    "ackley": Problem(ackley, -32.768, 32.768, 0.0),
    "drop_wave": Problem(drop_wave, -5.12, 5.12, 0.0, -1.0),
    "griewank": Problem(griewank, -600.0, 600.0, 0.0),
    "styblinski_tang": Problem(
        styblinski_tang, -5.0, 5.0, -2.9035340277711770, per_dimension=-39.166165703771416
    ),
    "levy": Problem(levy, -10.0, 10.0, 1.0),
    "multi_well": Problem(
        multi_well, -6.0, 6.0, -0.5122140283561128, per_dimension=-0.9731804794973067
    ),
}


def _points(x: Any) -> jax.Array:
    """At least one axis, at least single precision."""
    check_numbers(x, "x")
    return wide(jnp.atleast_1d(jnp.asarray(x)))


def _norm(x: jax.Array) -> jax.Array:
    """‖x‖ over the last axis, with gradient 0 at 0."""
    squares = jnp.sum(x**2, -1)
    is_zero = squares == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squares)))
