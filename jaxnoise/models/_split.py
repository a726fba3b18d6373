"""The seam to Flax: an NNX model becomes parameters and pure functions of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.tree_util import Partial

from .._checks import check_function, check_kind, shown
from .._tree import leaves_with_path, path_name


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
    graphdef, params, model_state, rng_state = _parts(_inference_view(model))
    loss_fn = Partial(_InferenceLoss(graphdef, example_loss, inputs), model_state, rng_state)
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
    graphdef, params, model_state, rng_state = _parts(train_view)
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
    graphdef, own_params, own_state, rng_state = _parts(model)
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


@dataclasses.dataclass(frozen=True)
class _InferenceLoss:
    """(model_state, rng_state, params, batch) → losses; equal for models of equal structure."""

    graphdef: nnx.GraphDef
    example_loss: Callable
    inputs: str | Callable

    def __call__(self, model_state: Any, rng_state: Any, params: Any, batch: Any) -> Any:
        model = nnx.merge(self.graphdef, params, model_state, rng_state, copy=True)
        return self.example_loss(model(_feed(batch, self.inputs)), batch)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Apply:
    """A model's outputs as a function of its parts, made by `split_apply`; a callable pytree."""

    rng_state: Any
    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})
    inference_graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})

    def __call__(
        self, params: Any, model_state: Any, x: Any, key: jax.Array | None
    ) -> tuple[Any, Any]:
        """Outputs and the state after them, in inference mode where `key` is None."""
        if key is None:
            graphdef = self.inference_graphdef
            model = nnx.merge(graphdef, params, model_state, self.rng_state, copy=True)
            return model(x), model_state
        rng_state = _reseeded(self.rng_state, key)
        model = nnx.merge(self.graphdef, params, model_state, rng_state, copy=True)
        outputs = model(x)
        *_, model_state, _ = _parts(model)
        return outputs, model_state


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TrainLoss:
    """A model's loss in training mode, made by `split_train`; a callable pytree."""

    apply: Apply
    example_loss: Callable = dataclasses.field(metadata={"static": True})
    inputs: str | Callable = dataclasses.field(metadata={"static": True})

    def __call__(
        self, params: Any, model_state: Any, batch: Any, key: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Losses (B,) in training mode, and the state after them."""
        metrics, model_state = self.metrics(params, model_state, batch, key)
        return metrics["loss"], model_state

    def metrics(
        self, params: Any, model_state: Any, batch: Any, key: jax.Array
    ) -> tuple[dict[str, jax.Array], Any]:
        """The per-example metrics in training mode, "loss" among them, and the state after them.

        "accuracy" is added where the outputs are class scores (B, K) and the batch has integer
        labels (B,).
        """
        outputs, model_state = self.apply(params, model_state, _feed(batch, self.inputs), key)
        return _metrics(self.example_loss, outputs, batch), model_state

    def evaluate(self, params: Any, model_state: Any, batch: Any) -> dict[str, jax.Array]:
        """The same metrics in inference mode."""
        outputs, _ = self.apply(params, model_state, _feed(batch, self.inputs), None)
        return _metrics(self.example_loss, outputs, batch)


def _reseeded(rng_state: Any, key: jax.Array) -> Any:
    """The random state with every stream's key drawn anew and its counter at zero."""
    leaves, structure = jax.tree.flatten(rng_state)
    keys = jax.random.split(key, len(leaves))
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    fresh = [
        new if typed else jnp.zeros_like(leaf)
        for leaf, typed, new in zip(leaves, is_key, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, fresh)


def _inference_view(model: nnx.Module) -> nnx.Module:
    return nnx.view(model, deterministic=True, use_running_average=True, raise_if_not_found=False)


def _parts(model: nnx.Module) -> tuple[Any, nnx.State, nnx.State, nnx.State]:
    """(graphdef, params, model state, random state), the states as plain arrays."""
    graphdef, params, rng_state, model_state = nnx.split(model, nnx.Param, nnx.RngState, ...)
    rng_state = jax.tree.map(_unconsumed, nnx.as_pure(rng_state))
    return graphdef, nnx.as_pure(params), nnx.as_pure(model_state), rng_state


def _unconsumed(leaf: jax.Array) -> jax.Array:
    """The key as one not used yet, for JAX's check of key reuse; the model has drawn from it."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.clone(leaf) if is_key else leaf


def _feed(batch: Any, inputs: str | Callable) -> jax.Array:
    if callable(inputs):
        return inputs(batch)
    if not isinstance(batch, Mapping) or inputs not in batch:
        found = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(f"the batch has no entry {inputs!r} to feed the model: it holds {found}")
    images = jnp.asarray(batch[inputs])
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def _metrics(example_loss: Callable, outputs: jax.Array, batch: Any) -> dict[str, jax.Array]:
    losses = example_loss(outputs, batch)
    metrics = dict(losses) if isinstance(losses, Mapping) else {"loss": losses}
    if "loss" not in metrics:
        raise ValueError(f"example_loss gave {', '.join(metrics)} but no 'loss'")
    label = batch.get("label") if isinstance(batch, Mapping) else None
    if label is not None and "accuracy" not in metrics:
        scores = getattr(outputs, "ndim", 0) == 2 and outputs.shape[-1] > 1
        if scores and jnp.ndim(label) == 1 and jnp.issubdtype(label.dtype, jnp.integer):
            metrics["accuracy"] = (jnp.argmax(outputs, axis=-1) == label).astype(jnp.float32)
    return metrics
