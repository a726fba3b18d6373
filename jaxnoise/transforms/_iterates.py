"""Which iterate a run returns: one of the outer iterates, drawn uniformly (Option II)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ._cycle import NO_PARAMS, inner_counter, strong


class UniformIterateState(NamedTuple):
    """Holds a uniform draw from the outer iterates seen so far.

    Attributes:
      count: () int32, the number of steps so far.
      seen: () int32, the number of outer iterates w_1, w_2, … so far.
      key: () a typed key; draw n folds in n, so the key itself never changes.
      iterate: the draw, shapes and dtypes of the params; w_0 until w_1 is seen.
    """

    count: jax.typing.ArrayLike
    seen: jax.Array
    key: jax.Array
    iterate: optax.Params


def uniform_iterate(
    key: jax.Array,
    period: jax.typing.ArrayLike = 10,
    *,
    epoch_length: jax.typing.ArrayLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Keep one of the outer iterates, drawn uniformly at random, while training.

    The outer iterates w_1, w_2, … are the params that a step with inner counter
    k = t mod S = 0, t > 0, starts from; w_0 does not count. The
    n-th takes the place of the kept one with probability 1/n (reservoir
    sampling), so that at every time each of the n is kept with probability
    1/n. The updates pass through unchanged, so the place in a chain doesn't matter;
    inside `optax.MultiSteps` it counts the real steps. The last iterate is seen by no
    step: `finish_iterate` adds it and returns the draw.

    Args:
      key: a typed key from `jax.random.key`. It is kept in the state, so replicas get
        theirs in `init`: `jax.vmap(lambda key, p: uniform_iterate(key).init(p))`.
      period: S ≥ 1, the number of steps between two outer iterates.
      epoch_length: steps per epoch, where each epoch starts a new cycle, so that
        k = (t mod epoch_length) mod S; None counts all steps in one row.

    Returns:
      A transformation whose state holds the key, two counts and one copy of the params, and
      whose `update` needs `params`.

    Raises:
      TypeError: if `key` is no typed key.
      ValueError: if `key` holds more than one key, if `period` or `epoch_length` is no
        positive integer, or if `update` is called without `params`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> import optax
      >>> optimizer = optax.chain(
      ...     jn.transforms.trsgd(0.1, period=2),
      ...     jn.transforms.uniform_iterate(jax.random.key(0), period=2),
      ... )
      >>> params = jnp.array(1.0)
      >>> state = optimizer.init(params)
      >>> outer = []
      >>> for step in range(6):
      ...     updates, state = optimizer.update(params, state, params)
      ...     params = optax.apply_updates(params, updates)
      ...     outer += [params] if step % 2 == 1 else []
      >>> drawn = jn.transforms.finish_iterate(state, params)
      >>> bool(drawn in outer)
      True

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Algorithm 1, Option II

      Vitter, "Random Sampling with a Reservoir", ACM Transactions on Mathematical Software,
      1985, Algorithm R
    """
    counter = inner_counter(period, epoch_length)
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"`key` must be a typed key, got {key!r}: use `jax.random.key(seed)`.")
    if key.shape:
        raise ValueError(f"`key` must be one key, got shape {key.shape}: vmap `init` over keys.")

    def init_fn(params: optax.Params) -> UniformIterateState:
        return UniformIterateState(
            count=jnp.zeros([], jnp.int32),
            seen=jnp.zeros([], jnp.int32),
            key=jnp.array(key),
            iterate=jax.tree.map(strong, params),
        )

    def update_fn(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, UniformIterateState]:
        del extra_args
        if params is None:
            raise ValueError(NO_PARAMS)
        is_outer = (counter(state.count) == 0) & (state.count > 0)
        takes = is_outer & _takes_next(state)
        iterate = jax.tree.map(
            lambda w, kept: jnp.where(takes, w, kept).astype(kept.dtype), params, state.iterate
        )
        return updates, UniformIterateState(
            count=optax.safe_increment(state.count),
            seen=state.seen + is_outer.astype(jnp.int32),
            key=state.key,
            iterate=iterate,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def finish_iterate(state: optax.OptState, params: optax.Params) -> optax.Params:
    """Add the final params to the outer iterates and return the uniform draw.

    After T S steps the params are w_T, which no step has started from yet: the
    draw is uniform over w_1, …, w_T. After a number of steps that ends within a
    cycle, the params where it was cut short count as the last outer iterate. Nothing is
    consumed: training may go on, and the same call gives the same draw.

    Args:
      state: the state of `uniform_iterate`, or a whole optimizer state that holds one.
      params: the params after the last step.

    Returns:
      The drawn iterate, as a pytree like `params`. Leaves that a mask hid from
      `uniform_iterate` are those of `params`.

    Raises:
      ValueError: if `state` holds no state of `uniform_iterate`, or more than one.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> tx = jn.transforms.uniform_iterate(jax.random.key(0))
      >>> params = {"w": jnp.array(0.0)}
      >>> updates, state = tx.update(params, tx.init(params), params)
      >>> print(jn.transforms.finish_iterate(state, {"w": jnp.array(3.0)})["w"])  # the only one
      3.0

    References:
      Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with
      Small Batch Sizes", IJCAI 2019, Algorithm 1, Option II
    """
    found = optax.tree.get_all_with_path(state, UniformIterateState.__name__)
    if len(found) != 1:
        raise ValueError(
            f"`state` must hold one state of uniform_iterate, found {len(found)}: "
            "chain it once, outside of any partition."
        )
    drawn = found[0][1]
    takes = _takes_next(drawn)
    return jax.tree.map(
        lambda kept, w: w if _is_masked(kept) else jnp.where(takes, w, kept).astype(kept.dtype),
        drawn.iterate,
        params,
        is_leaf=_is_masked,
    )


def _takes_next(state: UniformIterateState) -> jax.Array:
    """Whether the next outer iterate, the n-th, takes the place of the kept one: 1 in n."""
    n = state.seen + 1
    return jax.random.randint(jax.random.fold_in(state.key, n), (), 0, n, jnp.int32) == 0


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
