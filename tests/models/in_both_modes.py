"""Splits, trains and merges models in whichever mode Flax NNX is in; prints what comes out."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxnoise import losses
from jaxnoise.models import FeedForward, ResNet18, SmallCNN, merge, split, split_train


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
        if leaf.ndim == 1:
            return jnp.asarray(rng.random(leaf.shape), leaf.dtype)
        return jnp.asarray(
            rng.normal(size=leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5, leaf.dtype
        )

    graphdef, state = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graphdef, jax.tree.map(draw, nnx.as_pure(state)))


def losses_of(model, training_only=False):
    """Losses in training, in inference, and in inference after new parameters and state."""
    rng = np.random.default_rng(0)
    batch = {"image": jnp.asarray(rng.random((2, 4, 4, 3)), jnp.float32), "label": jnp.arange(2)}
    evaluate = jax.jit(lambda loss_fn, params: loss_fn(params, batch))
    params, loss_fn = split(model, losses.cross_entropy)
    _, model_state, train_loss = split_train(model, losses.cross_entropy)
    trained, model_state = jax.jit(train_loss)(params, model_state, batch, jax.random.key(1))
    if training_only:
        return trained.tolist()
    before = evaluate(loss_fn, params)
    changed = merge(model, jax.tree.map(lambda p: 0.9 * p, params), model_state)
    after = evaluate(*reversed(split(changed, losses.cross_entropy)))
    return [*trained.tolist(), *before.tolist(), *after.tolist()]


results = {
    "FeedForward": losses_of(FeedForward(image_size=4, width=4, rngs=nnx.Rngs(0))),
    "SmallCNN": losses_of(filled(lambda: SmallCNN(image_size=4, rngs=nnx.Rngs(0)))),
    "ResNet18": losses_of(filled(lambda: ResNet18(width=2, rngs=nnx.Rngs(0))), training_only=True),
    "Regularized": losses_of(Regularized(nnx.Rngs(0))),
}
if __name__ == "__main__":
    print(json.dumps({"graph mode": nnx.set_graph_mode.current_value(), "losses": results}))
