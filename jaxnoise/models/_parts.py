"""The parts of an NNX model, and its outputs and losses as pure functions of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from .._checks import entry


@dataclasses.dataclass(frozen=True)
class InferenceLoss:
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
    """A model's outputs as a function of its parts, made by `split_apply`; a callable pytree.

    Attributes:
      rng_state: the random state, whose keys a call draws anew.
      graphdef: the model in training mode, without its arrays.
      inference_graphdef: the model in inference mode, without its arrays.
    """

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
        *_, model_state, _ = parts(model)
        return outputs, model_state


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TrainLoss:
    """A model's loss in training mode, made by `split_train`; a callable pytree.

    Attributes:
      apply: the model's outputs, an `Apply`.
      example_loss: (outputs, batch) → losses (B,), or a dict of such metrics.
      inputs: the batch entry that the model is fed, or a function of the batch that makes it.
    """

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


def parts(model: nnx.Module) -> tuple[Any, nnx.State, nnx.State, nnx.State]:
    """(graphdef, params, model state, random state), the states as plain arrays."""
    graphdef, params, rng_state, model_state = nnx.split(model, nnx.Param, nnx.RngState, ...)
    rng_state = jax.tree.map(_unconsumed, nnx.as_pure(rng_state))
    return graphdef, nnx.as_pure(params), nnx.as_pure(model_state), rng_state


def _unconsumed(leaf: jax.Array) -> jax.Array:
    """The key as one not used yet, for JAX's check of key reuse; the model has drawn from it."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.clone(leaf) if is_key else leaf


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


def _feed(batch: Any, inputs: str | Callable) -> jax.Array:
    if callable(inputs):
        return inputs(batch)
    images = jnp.asarray(entry(batch, inputs, " to feed the model"))
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
