"""Image classification from several seeds: examples, networks, and the starts of all seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxnoise as jn

_OF_A_SIZE = ("FeedForward", "SmallCNN")  # networks that are built for one size of image


def images_of(
    dataset: jn.data.Dataset, most: int | None = None, most_test: int | None = None
) -> tuple[Any, Any]:
    """Training and test examples, on the device; where more than `most`, a random choice.

    Raises:
      ValueError: if the data set lacks one of them, or they are no square images with labels.
    """
    parts = []
    for name, part, limit in (
        ("training", dataset.train, most),
        ("test", dataset.test, most_test),
    ):
        where = f"--data {dataset.info.name}: networks need {name} examples"
        image, label = (part or {}).get("image"), (part or {}).get("label")
        if image is None or image.ndim != 4 or image.shape[1] != image.shape[2]:
            raise ValueError(f"{where} that are square images")
        if label is None or label.ndim != 1 or label.dtype != np.int32 or label.min() < 0:
            raise ValueError(f"{where} with a class label each")
        parts.append(pick({"image": image, "label": label}, limit or len(label), seed=0))
    return parts[0], parts[1]


def pick(data: Any, num: int, seed: int) -> Any:
    """At most `num` examples in random order, on the device."""
    order = np.random.default_rng(seed).permutation(len(data["label"]))[:num]
    return jax.tree.map(lambda x: jnp.asarray(x[order]), data)


@dataclasses.dataclass(frozen=True, eq=False)
class Starts:
    """One network from the initial parameters of several seeds.

    Attributes:
      model: the network of seed 0.
      params: initial parameters, (seeds, …).
      model_state: initial state of the normalisation layers, (seeds, …).
      train_loss: cross-entropy in training mode.
      keys: (seeds,) typed keys, those of the seeds 0, 1, 2, …
      inputs: what of a batch the network is fed.
    """

    model: nnx.Module
    params: Any
    model_state: Any
    train_loss: Any
    keys: jax.Array
    inputs: str | Callable

    def loss_fn(self, params: Any, model_state: Any, loss: Callable) -> Any:
        """The loss in inference mode, at the parameters and state of one seed."""
        model = jn.models.merge(self.model, params, model_state)
        return jn.models.split(model, loss, self.inputs)[1]


def starts_of(
    network: str,
    train: Any,
    test: Any,
    seeds: int,
    inputs: str | Callable = "image",
    **options: Any,
) -> Starts:
    """The network for these images and labels, once for each of the seeds 0, 1, 2, …

    Args:
      network: name of a classifier of `jaxnoise.models`.
      train: training examples; images (n, H, H, C).
      test: test examples.
      seeds: number of seeds.
      inputs: what of a batch the network is fed.
      **options: of the network, in place of what the examples say.
    """
    classes = int(max(train["label"].max(), test["label"].max())) + 1
    _, size, _, channels = train["image"].shape
    shape: dict[str, Any] = {"num_classes": classes, "in_channels": channels}
    if network in _OF_A_SIZE:
        shape["image_size"] = size
    make = getattr(jn.models, network)
    models = [make(rngs=nnx.Rngs(seed), **{**shape, **options}) for seed in range(seeds)]
    splits = [jn.models.split_train(model, jn.losses.cross_entropy, inputs) for model in models]
    params, model_state = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((params, state) for params, state, _ in splits)
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    return Starts(models[0], params, model_state, splits[0][2], keys, inputs)


def replica(tree: Any, index: int) -> Any:
    """One of the replicas whose leaves share a leading axis."""
    return jax.tree.map(lambda x: x[index], tree)
