"""Splits, trains and merges models in whichever mode Flax NNX is in; prints what comes out."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnoise import losses
from jaxnoise.models import (
    FeedForward,
    NucleiUNet,
    PatchDiscriminator,
    Pix2PixGenerator,
    ResNet18,
    ResNetGenerator,
    SmallCNN,
    UNet,
    WideResNet,
    merge,
    split,
    split_train,
)


class Regularized(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(48, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.dense(x.reshape(len(x), -1))))


def filled(make):
    """The model with some numbers or other, which is quicker than to initialise it."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if leaf.ndim == 0:  # the count of a stream of keys
            return jnp.zeros((), leaf.dtype)
        if leaf.ndim == 1:
            return jnp.asarray(rng.random(leaf.shape), leaf.dtype)
        return jnp.asarray(
            rng.normal(size=leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5, leaf.dtype
        )

    graphdef, state = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graphdef, jax.tree.map(draw, nnx.as_pure(state)))


def squares(outputs, batch):
    return jnp.mean(outputs**2, axis=range(1, outputs.ndim))


def training_losses(network, *shape, example_loss=squares, **options):
    """Losses of two random examples in training, batch statistics and dropout included."""
    model = filled(lambda: network(rngs=nnx.Rngs(0), **options))
    image = np.random.default_rng(0).normal(size=(2, *shape))
    batch = {"image": jnp.asarray(image, jnp.float32), "label": jnp.arange(2)}
    params, model_state, train_loss = split_train(model, example_loss)
    trained, _ = jax.jit(train_loss)(params, model_state, batch, jax.random.key(1))
    return trained.tolist()


def losses_of(model):
    """Losses in training, in inference, and in inference after new parameters and state."""
    rng = np.random.default_rng(0)
    batch = {"image": jnp.asarray(rng.random((2, 4, 4, 3)), jnp.float32), "label": jnp.arange(2)}
    evaluate = jax.jit(lambda loss_fn, params: loss_fn(params, batch))
    params, loss_fn = split(model, losses.cross_entropy)
    _, model_state, train_loss = split_train(model, losses.cross_entropy)
    trained, model_state = jax.jit(train_loss)(params, model_state, batch, jax.random.key(1))
    before = evaluate(loss_fn, params)
    changed = merge(model, jax.tree.map(lambda p: 0.9 * p, params), model_state)
    after = evaluate(*reversed(split(changed, losses.cross_entropy)))
    return [*trained.tolist(), *before.tolist(), *after.tolist()]


results = {
    "FeedForward": losses_of(FeedForward(image_size=4, width=4, rngs=nnx.Rngs(0))),
    "SmallCNN": losses_of(filled(lambda: SmallCNN(image_size=4, rngs=nnx.Rngs(0)))),
    "Regularized": losses_of(Regularized(nnx.Rngs(0))),
    "ResNet18": training_losses(ResNet18, 4, 4, 3, example_loss=losses.cross_entropy, width=2),
    "WideResNet": training_losses(
        WideResNet, 4, 4, 3, example_loss=losses.cross_entropy, depth=10, width=1
    ),
    "UNet": training_losses(UNet, 4, 4, 1, width=2, levels=1, norm="batch"),
    "NucleiUNet": training_losses(NucleiUNet, 2, 2, 2, 1, width=2, levels=1),
    "Pix2PixGenerator": training_losses(Pix2PixGenerator, 64, 64, 3, width=1, levels=6),
    "ResNetGenerator": training_losses(ResNetGenerator, 8, 8, 3, width=2, blocks=1),
    "PatchDiscriminator": training_losses(PatchDiscriminator, 8, 8, 3, width=2, layers=1),
}
if __name__ == "__main__":
    print(json.dumps({"graph mode": nnx.set_graph_mode.current_value(), "losses": results}))
