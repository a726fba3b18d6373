"""How fast component gradients grow with the full gradient, along a trajectory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sized
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from .._progress import Progress
from .._sharding import put_everywhere
from .._streaming import map_and_sum, spread
from .._tree import is_concrete, num_examples, squared_norm
from ._norms import total_norms
from ._per_example import prepare_spread
from ._reduce import reduce_gradients
from ._taps import taps_of


def growth_ratio(
    loss_fn: Callable,
    trajectory: Any,
    solution: Any,
    data: Any,
    *,
    chunk_size: int | None = None,
    sharding: NamedSharding | None = None,
) -> jax.Array:
    """The change of the component gradients since the solution over the squared full gradient.

        r_t = Σ_{k≤t} (1/n) Σ_i ‖∇f_i(w_k) − ∇f_i(w_*)‖²  /  Σ_{k≤t} ‖∇F(w_k)‖²

    The constant N of the paper is estimated by the largest r_t. Where ∇F(w_*) = 0, the mean of the
    differences is ∇F(w_k), so that r_t ≥ 1; an r_t below 1 tells that w_* is no solution.

    The differences are squared, not the gradients, so that nothing cancels close to the solution.
    An iterate costs about two gradients of the mean loss over the data (see `squared_norms`).
    Memory is bounded by a chunk of examples and one iterate.

    Args:
      loss_fn: (params, batch) → losses (B,), one per example, each of its own example alone.
      trajectory: the iterates w_0, w_1, …: a pytree like `solution` whose leaves have one more
        leading axis (T, …), or any iterable of pytrees like `solution`, as a generator that loads
        them from disk. They come to the device one at a time.
      solution: w_*, pytree of floating arrays.
      data: batch of all n examples.
      chunk_size: most examples worked on at a time, see `squared_norms`.
      sharding: how to distribute the examples over devices, see `squared_norms`.

    Returns:
      (T,) ratios r_0, r_1, …; inf while the full gradients so far are zero and the component
      gradients are not, nan while both are.

    Raises:
      ValueError: if the trajectory is empty, an iterate differs from the solution in structure or
        shapes, a gradient is not finite, or loss_fn gives anything but (B,) losses or couples
        examples.

    References:
      Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
      Algorithm Work Well?", 2018, section 3 (the constant N).

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> loss_fn = lambda w, batch: 0.5 * batch["a"] * w**2
      >>> trajectory, data = jnp.array([4.0, 2.0, 1.0]), {"a": jnp.array([1.0, 3.0])}
      >>> jn.gradients.growth_ratio(loss_fn, trajectory, jnp.array(0.0), data)
      Array([1.25, 1.25, 1.25], dtype=float32)
    """
    loss_fn, solution, examples = prepare_spread(
        loss_fn, solution, data, chunk_size, "data", sharding
    )
    iterates, count = _iterates(trajectory, solution)
    terms = []
    with Progress(count, "growth ratio", "iterates", delay=2.0) as bar:
        for t, iterate in enumerate(iterates):
            inputs = (solution, examples, chunk_size)
            sums = _mean_squares(loss_fn, _placed(iterate, solution, t, sharding), *inputs)
            _, pair = examples.finish((), sums)
            if is_concrete(pair) and not np.isfinite(pair).all():
                raise ValueError(
                    f"the gradients at iterate {t} of the trajectory or at the solution are not "
                    "finite: look for non-finite parameters or data"
                )
            terms.append(pair)
            bar.update()
    if not terms:
        raise ValueError("trajectory is empty: give at least one iterate")
    change, gradient = jnp.cumsum(jnp.stack(terms), axis=0).T
    return change / gradient


@functools.partial(jax.jit, static_argnums=4)
def _mean_squares(loss_fn, params, solution, examples, chunk_size) -> jax.Array:
    """(2,): (1/n) Σ ‖∇f_i(w) − ∇f_i(w_*)‖² and ‖∇F(w)‖²."""

    def work(data, counted, so_far, loss_fn, params, solution):
        taps = taps_of(loss_fn, params, data)

        def sums(chunk, weights):
            changes, total = reduce_gradients(taps, params, chunk, weights=weights, minus=solution)
            norms = total_norms(changes)
            return (), (jnp.sum(weights.astype(norms.dtype) * norms), total)

        size = chunk_size or taps.default_chunk_size(num_examples(data))
        return map_and_sum(sums, data, size, so_far, counted=counted)

    _, (change, total) = spread(work, examples, None, loss_fn, params, solution)
    mean = [leaf / examples.n for leaf in total]
    return jnp.stack([change / examples.n, squared_norm(mean)])


def _iterates(trajectory: Any, solution: Any) -> tuple[Iterable[Any], int | None]:
    """The iterates one by one, and how many there are where that is known."""
    if _is_stacked(trajectory, solution):
        count = num_examples(trajectory, "trajectory")
        return (jax.tree.map(lambda x: x[t], trajectory) for t in range(count)), count  # noqa: B023
    if not isinstance(trajectory, Iterable):
        raise TypeError(
            "trajectory must be a pytree like solution with one more leading axis, or an iterable "
            f"of pytrees like solution, got a {type(trajectory).__name__}"
        )
    return trajectory, len(trajectory) if isinstance(trajectory, Sized) else None


def _is_stacked(trajectory: Any, solution: Any) -> bool:
    if type(trajectory) is not type(solution) and not hasattr(trajectory, "shape"):
        return False  # an iterator must not be taken for a pytree
    same_structure = jax.tree.structure(trajectory) == jax.tree.structure(solution)
    return same_structure and all(hasattr(x, "shape") for x in jax.tree.leaves(trajectory))


def _placed(iterate: Any, solution: Any, t: int, sharding: NamedSharding | None) -> Any:
    """The iterate where the solution is."""
    iterate = _like(iterate, solution, t)
    return iterate if sharding is None else put_everywhere(iterate, sharding)


def _like(iterate: Any, solution: Any, t: int) -> Any:
    """The iterate as arrays of the solution's dtypes, after a look at its structure and shapes."""
    if jax.tree.structure(iterate) != jax.tree.structure(solution):
        raise ValueError(
            f"iterate {t} of the trajectory must be a pytree of the same structure as solution; a "
            "trajectory in one pytree has the structure of solution, too"
        )
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (iterate, solution)]
    if shapes[0] != shapes[1]:
        differ = next(pair for pair in zip(*shapes, strict=True) if pair[0] != pair[1])
        raise ValueError(
            f"iterate {t} of the trajectory has a leaf of shape {differ[0]} where solution has "
            f"{differ[1]}"
        )
    return jax.tree.map(lambda x, w: jnp.asarray(x, w.dtype), iterate, solution)
