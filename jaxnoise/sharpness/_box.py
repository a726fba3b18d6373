"""The largest relative increase of the loss within a box around the parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from .._checks import check_choice, check_count, check_key, check_positive, check_whole
from .._results import Result
from .._tree import is_concrete
from ._around import Around, check_finite_nearby, full_precision, map_jobs, side_by_side
from ._box_solvers import maximize_lbfgsb, maximize_spectral

_STARTS = 4  # of the solver on the device
_OFFSET = 0.01  # how far from the centre, in parts of the box, the first search starts


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BoxSharpness(Result):
    """The largest relative increase of the loss in a box; arrays shaped like `epsilon`.

    Attributes:
      value: φ, not multiplied by 100.
      loss: L(w), a number.
      max_loss: the largest L(w + z) found.
      iterations: of the solver (in all starts together).
      evaluations: of the loss with its gradient (in all starts together).
      converged: whether the point found meets the conditions of a maximum; if it does not, more
        iterations would find more.
    """

    value: Any
    loss: Any
    max_loss: Any
    iterations: Any
    evaluations: Any
    converged: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Box:
    """Perturbations z = A (r ∘ y) for y in the cube; A is the identity where it is None."""

    radii: jax.Array
    subspace: jax.Array | None

    def at(self, y: jax.Array) -> jax.Array:
        step = self.radii * y
        return step if self.subspace is None else self.subspace @ step


def box_sharpness(
    loss_fn: Callable,
    params: Any,
    data: Any,
    epsilon: Any,
    *,
    guard: bool = True,
    subspace_dim: int | None = None,
    key: jax.Array | None = None,
    solver: Literal["lbfgsb", "projected"] = "lbfgsb",
    max_iterations: int = 10,
    chunk_size: int | None = None,
) -> BoxSharpness:
    """The sharpness of Keskar et al., the largest relative increase of the loss within a box.

        φ = (max_z L(w + z) − L(w)) / (1 + L(w)),   |z_i| ≤ ε (|w_i| + 1)

    In a random subspace z = A y with a Gaussian (d, p) matrix A and |y_i| ≤ ε (|(A⁺w)_i| + 1). With
    `guard=False` both "1 +" are left out, as Lu and Tong do: weights that are zero stay fixed.

    The maximum is that of a local search, so a lower bound. Either solver works on the box scaled
    to a cube. "lbfgsb" runs SciPy's L-BFGS-B on the host, once, and calls one compiled program for
    the loss and its gradient. "projected" climbs on the device by projected gradients with spectral
    steps, from four starts, within one compiled program, and takes the best. The search starts 1 %
    of the box off the parameters, so that it leaves a stationary point; `projected` also starts
    from uniform points of the box. New values of parameters, data or ε compile nothing anew.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      params: w, pytree of d floating numbers; those of less than single precision are taken in it.
      data: batch of all n examples.
      epsilon: ε > 0, a number, or an array of them, searched one after another.
      guard: whether to add 1 to the loss and to the magnitudes of the weights.
      subspace_dim: p ≤ d, the dimension of the random subspace; None takes the full space. A is
        held in memory.
      key: typed key, for A and the starts; needed with `subspace_dim`. Without, the starts are the
        same in each call.
      solver: "lbfgsb" or "projected"; within `jax.jit` only the latter.
      max_iterations: iterations per start.
      chunk_size: most examples at a time; None takes about a million numbers of input.

    Returns:
      `BoxSharpness`.

    Raises:
      TypeError: if key is no typed key or a parameter is not real and floating.
      ValueError: if an argument is wrong, loss_fn gives anything but (B,) losses or couples
        examples, a loss is not finite, or the denominator is not positive.

    References:
      Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On Large-Batch Training for Deep Learning:
      Generalization Gap and Sharp Minima", 2017, eqs. 3 and 4. Lu, Tong, "Visualized Insights into
      the Optimization Landscape of Fully Convolutional Networks", 2019 (without guards).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: batch["x"] * w**2
      >>> data = {"x": jnp.array([1.0, 3.0])}  # L = 2 w²
      >>> result = jn.sharpness.box_sharpness(loss_fn, jnp.array(1.0), data, 0.25)
      >>> float(result.max_loss), round(float(result.value), 3)  # at w = 1.5: (4.5 − 2) / 3
      (4.5, 0.833)
    """
    check_choice(solver, "solver", ("lbfgsb", "projected"))
    check_positive(epsilon, "epsilon")
    check_count(max_iterations, "max_iterations")
    if key is not None:
        check_key(key)
    around = Around.of(loss_fn, params, data, chunk_size)
    if subspace_dim is not None:
        check_whole(subspace_dim, "subspace_dim")
        if not 1 <= subspace_dim <= around.size:
            raise ValueError(
                f"subspace_dim must be between 1 and the number of parameters, {around.size}, "
                f"got {subspace_dim}"
            )
        if key is None:
            raise ValueError("key is needed for a random subspace: give key=jax.random.key(…)")
    if solver == "lbfgsb" and not is_concrete(around, epsilon, key):
        raise ValueError("solver 'lbfgsb' works on the host: within jax.jit take 'projected'")
    search = _search_on_host if solver == "lbfgsb" else _search_on_device
    key = jax.random.key(0) if key is None else key

    def search_within(epsilon):
        same = jax.random.clone(key)  # so that boxes of all sizes lie in one subspace
        box, starts = _box(around, epsilon, same, guard, subspace_dim)
        return search(around, box, starts, max_iterations)

    epsilons = epsilon if isinstance(epsilon, jax.Array) else np.asarray(epsilon)
    with full_precision():
        found = [search_within(one) for one in epsilons.ravel()] if epsilons.ndim else None
        result = _result(around, found or search_within(epsilons), epsilons.shape, guard)
    check_finite_nearby(result.max_loss, "epsilon")
    if is_concrete(result) and not result.loss + int(guard) > 0:
        raise ValueError(
            f"the loss at params is {result.loss:.3g}, so that φ has no positive denominator: "
            f"{'make the losses positive' if guard else 'take guard=True'}"
        )
    return result


@functools.partial(jax.jit, static_argnums=(3, 4))
def _box(around: Around, epsilon, key, guard, subspace_dim) -> tuple[_Box, jax.Array]:
    """The box, and starts (k, m) in the cube, the first of them close to the centre."""
    center, subspace = around.center, None
    epsilon = jnp.asarray(epsilon, center.dtype)
    subspace_key, start_key = jax.random.split(key)
    if subspace_dim is not None:
        subspace = jax.random.normal(subspace_key, (center.size, subspace_dim), center.dtype)
        q, r = jnp.linalg.qr(subspace)
        center = solve_triangular(r, q.T @ center)
    starts = jax.random.uniform(start_key, (_STARTS, *center.shape), center.dtype, -1, 1)
    box = _Box(epsilon * (jnp.abs(center) + int(guard)), subspace)
    return box, starts.at[0].multiply(_OFFSET)


@jax.jit
def _evaluate(around: Around, box: _Box, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """L(w + z) − L(w) and its gradient by y."""
    z, pull_back = jax.vjp(box.at, y)
    value, gradient = around.increase_and_gradient(z)
    return value, pull_back(gradient)[0]


def _search_on_host(around: Around, box: _Box, starts: jax.Array, max_iterations: int) -> tuple:
    dtype = box.radii.dtype

    def evaluate(y):
        return _evaluate(around, box, y.astype(dtype))

    value, *rest = maximize_lbfgsb(evaluate, np.asarray(starts[0], np.float64), max_iterations)
    return np.asarray(value, dtype), *map(np.asarray, rest)


@functools.partial(jax.jit, static_argnums=3)
def _search_on_device(around: Around, box: _Box, starts: jax.Array, max_iterations: int) -> tuple:
    evaluate = functools.partial(_evaluate, around, box)
    values, iterations, evaluations, converged = map_jobs(
        lambda start: maximize_spectral(evaluate, start, max_iterations),
        starts,
        min(_STARTS, side_by_side(around)),
    )
    best = jnp.argmax(values)  # nan counts as the largest
    return values[best], jnp.sum(iterations), jnp.sum(evaluations), converged[best]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _result(around: Around, found: Any, shape, guard) -> BoxSharpness:
    if isinstance(found, list):
        found = jax.tree.map(lambda *x: jnp.stack(x).reshape(shape), *found)
    loss, increase = around.mean_loss, jnp.maximum(found[0], 0)
    return BoxSharpness(increase / (loss + int(guard)), loss, loss + increase, *found[1:])
