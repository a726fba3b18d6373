"""The seam to Flax: an NNX model becomes parameters and pure functions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.tree_util import Partial

from .._checks import check_function, check_kind, shown
from .._tree import leaves_with_path, path_name
from ._parts import Apply, InferenceLoss, TrainLoss, parts


def split(
    model: nnx.Module, example_loss: Callable, inputs: str | Callable = "image"
) -> tuple[nnx.State, Partial]:
    """Splits a model into its parameters and its loss in inference mode.

    In inference mode normalisation layers use their running statistics and dropout is off, so that
    an example's loss depends on that example alone.

    Args:
      model: any NNX model; it stays as it is.
      example_loss: (outputs, batch) → losses (B,), one per example, or a dict of such metrics.
      inputs: the batch entry that the model is fed, or a function of the batch that makes it.
        uint8 entries are scaled to [0, 1].

    Returns:
      (params, loss_fn). `params` is an `nnx.State` of arrays. `loss_fn(params, batch)` gives what
      `example_loss` gives; it is a `jax.tree_util.Partial` whose leaves are the model's state, so
      that a compiled program takes another checkpoint of the same model without recompilation.

    Raises:
      TypeError: if model is no NNX module, or the others no such functions.
      ValueError: in a call, if the batch has no such entry.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.FeedForward(in_channels=1, image_size=8, rngs=nnx.Rngs(0))
      >>> params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
      >>> batch = {"image": jnp.zeros((3, 8, 8, 1)), "label": jnp.array([0, 1, 2])}
      >>> loss_fn(params, batch).shape
      (3,)
    """
    check_kind(model, "model", nnx.Module)
    _check_loss(example_loss, inputs)
    graphdef, params, model_state, rng_state = parts(_inference_view(model))
    loss_fn = Partial(InferenceLoss(graphdef, example_loss, inputs), model_state, rng_state)
    return params, loss_fn


def split_train(
    model: nnx.Module, example_loss: Callable, inputs: str | Callable = "image"
) -> tuple[nnx.State, nnx.State, TrainLoss]:
    """Splits a model into parameters, state and its loss in training mode.

    Args:
      model: any NNX model; it stays as it is.
      example_loss: (outputs, batch) → losses (B,), one per example, or a dict of such metrics with
        an entry "loss".
      inputs: the batch entry that the model is fed, or a function of the batch that makes it.
        uint8 entries are scaled to [0, 1].

    Returns:
      (params, model_state, train_loss) with
      `train_loss(params, model_state, batch, key) → (losses, model_state)`. The model state holds
      all that isn't a parameter or a random key, such as running statistics; the keys of dropout
      come from `key`.

    Raises:
      TypeError: if model is no NNX module, or the others no such functions.
      ValueError: in a call, if the batch has no such entry, or `example_loss` gives no "loss".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.WideResNet(depth=10, width=1, rngs=nnx.Rngs(0))
      >>> params, model_state, train_loss = jn.models.split_train(model, jn.losses.cross_entropy)
      >>> batch = {"image": jnp.zeros((3, 8, 8, 3)), "label": jnp.array([0, 1, 2])}
      >>> losses, model_state = train_loss(params, model_state, batch, jax.random.key(0))
      >>> losses.shape
      (3,)
    """
    _check_loss(example_loss, inputs)
    params, model_state, apply = split_apply(model)
    return params, model_state, TrainLoss(apply, example_loss, inputs)


def split_apply(model: nnx.Module) -> tuple[nnx.State, nnx.State, Apply]:
    """Splits a model into parameters, state and its outputs as a function of them.

    For losses that need more than one model or call, such as those of adversarial training.

    Args:
      model: any NNX model; it stays as it is.

    Returns:
      (params, model_state, apply), the last of them a callable pytree:
      `apply(params, model_state, x, key) → (outputs, model_state)` in training mode, in which
      normalisation layers use the statistics of the batch and update the running ones, and dropout
      is drawn from `key`. With None for `key` it is in inference mode, in which the model state
      stays as it is.

    Raises:
      TypeError: if model is no NNX module.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.Pix2PixGenerator(width=2, levels=2, rngs=nnx.Rngs(0))
      >>> params, model_state, apply = jn.models.split_apply(model)
      >>> images, model_state = apply(params, model_state, jnp.zeros((1, 8, 8, 3)), None)
      >>> images.shape
      (1, 8, 8, 3)
    """
    check_kind(model, "model", nnx.Module)
    train_view = nnx.view(
        model, deterministic=False, use_running_average=False, raise_if_not_found=False
    )
    graphdef, params, model_state, rng_state = parts(train_view)
    inference = nnx.graphdef(_inference_view(model))
    return params, model_state, Apply(rng_state, graphdef, inference)


def merge(model: nnx.Module, params: Any, model_state: Any = None) -> nnx.Module:
    """Puts parameters, and state where given, back into a copy of `model`.

    Args:
      model: the model that was split.
      params: parameters as `split` gives them.
      model_state: state as `split_train` gives it; None keeps that of `model`.

    Returns:
      A new model of the same kind and mode.

    Raises:
      TypeError: if model is no NNX module.
      ValueError: if params have other names or shapes than those of `model`.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.FeedForward(in_channels=1, image_size=8, rngs=nnx.Rngs(0))
      >>> params, _ = jn.models.split(model, jn.losses.cross_entropy)
      >>> zeroed = jn.models.merge(model, jax.tree.map(lambda p: 0 * p, params))
      >>> float(zeroed.readout.kernel[...].sum())
      0.0
    """
    check_kind(model, "model", nnx.Module)
    graphdef, own_params, own_state, rng_state = parts(model)
    _check_params(params, own_params)
    state = own_state if model_state is None else model_state
    return nnx.merge(graphdef, params, state, rng_state, copy=True)


def _check_loss(example_loss: Any, inputs: Any) -> None:
    check_function(example_loss, "example_loss")
    if not (callable(inputs) or isinstance(inputs, str)):
        raise TypeError(
            f"inputs must name a batch entry, or be a function of the batch, got {shown(inputs)}"
        )


def _check_params(params: Any, own: Any) -> None:
    """Raises unless parameters are called and shaped like the model's own."""
    given, wanted = (
        {path_name(path): jnp.shape(leaf) for path, leaf in leaves_with_path(tree)}
        for tree in (params, own)
    )
    if given != wanted:
        name = min(given.keys() ^ wanted.keys() or {k for k in wanted if given[k] != wanted[k]})
        raise ValueError(
            f"params must be those of such a model: {name} has shape "
            f"{wanted.get(name, 'none')} there, {given.get(name, 'none')} here"
        )


def _inference_view(model: nnx.Module) -> nnx.Module:
    return nnx.view(model, deterministic=True, use_running_average=True, raise_if_not_found=False)
