"""Parameters, operations and activations of training WRN-28-10, from shapes alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jaxnoise as jn

_PAIR = 2  # examples: a single one may be traced differently


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a step of training needs.

    Attributes:
      parameters: number of them.
      statistics: numbers that batch normalisation keeps beside them.
      optimizer_bytes: the optimizer's state.
      forward: multiply-adds of the network per image, those with the zeros of padding included.
      step: multiply-adds of the network and its gradient per image.
      activation_bytes: what the forward pass hands to the backward pass, per image.
    """

    parameters: int
    statistics: int
    optimizer_bytes: int
    forward: float
    step: float
    activation_bytes: float


def count(size: int, classes: int, dtype: str, network: Callable = jn.models.WideResNet) -> Counts:
    """Counts for training by TRSGD with momentum on images of `size`² pixels; nothing is computed.

    The activations are all arrays that `jax.vjp` of the mean loss keeps and that grow with the
    batch: XLA may keep less, as it fuses and computes anew, and has others beside them for a while.

    Args:
      size: side of the images, pixels.
      classes: of the images.
      dtype: in which the network computes.
      network: class from `jn.models`; the defaults of `WideResNet` are WRN-28-10.
    """
    model = nnx.eval_shape(
        lambda: network(num_classes=classes, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))
    )
    params, model_state, loss = jn.models.split_train(model, jn.losses.cross_entropy)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def examples(num: int) -> dict[str, jax.ShapeDtypeStruct]:
        return {
            "image": jax.ShapeDtypeStruct((num, size, size, 3), jnp.uint8),
            "label": jax.ShapeDtypeStruct((num,), jnp.int32),
        }

    def mean_loss(params: Any, model_state: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(loss(params, model_state, batch, key)[0])

    def kept(batch: Any) -> int:
        """Bytes that the backward pass finds."""
        backward = jax.eval_shape(lambda w, *rest: jax.vjp(lambda w: mean_loss(w, *rest), w)[1],
                                  params, model_state, batch, key)  # fmt: skip
        return _bytes(backward)

    inputs = (params, model_state, examples(_PAIR), key)
    trsgd = jn.transforms.trsgd(0.1)
    return Counts(
        parameters=_numbers(params),
        statistics=_numbers(model_state),
        optimizer_bytes=_bytes(jax.eval_shape(trsgd.init, params)),
        forward=multiply_adds(mean_loss, *inputs) / _PAIR,
        step=multiply_adds(jax.grad(mean_loss), *inputs) / _PAIR,
        activation_bytes=(kept(examples(2 * _PAIR)) - kept(examples(_PAIR))) / _PAIR,
    )


def multiply_adds(function: Callable, *args: Any) -> int:
    """Multiply-adds of all convolutions and matrix products in a program without loops."""
    return _multiply_adds(jax.make_jaxpr(function)(*args).jaxpr)


def _multiply_adds(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        arrays = [var.aval for var in (*equation.invars, *equation.outvars)]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += arrays[-1].size * math.prod(arrays[0].shape[axis] for axis in contracted)
        elif equation.primitive.name == "convolution_map":
            total += _of_convolution(equation.params["result"], *arrays)
        elif equation.primitive.name in ("conv_general_dilated", "scan", "while"):
            raise ValueError(f"the operations of {equation.primitive.name} are not known here")
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                total += _multiply_adds(getattr(inner, "jaxpr", inner))
    return total


def _of_convolution(result: str, a: Any, b: Any, out: Any) -> int:
    """Of a sum of products image · kernel · output, whichever of the three is computed."""
    kernel, output = {"output": (b, out), "input": (b, a), "kernel": (out, b)}[result]
    return output.size * kernel.size // kernel.shape[-1]


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _numbers(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
