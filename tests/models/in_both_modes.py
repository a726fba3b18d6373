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
    """The model with numbers of no meaning, which is quicker than to initialise it."""
    rng = np.random.default_rng(0)
    graphdef, state = nnx.split(nnx.eval_shape(make))
    numbers = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.random(leaf.shape), leaf.dtype), nnx.as_pure(state)
    )
    return nnx.merge(graphdef, numbers)


def losses_of(model):
    rng = np.random.default_rng(0)
    batch = {"image": jnp.asarray(rng.random((2, 4, 4, 3)), jnp.float32), "label": jnp.arange(2)}
    params, loss_fn = split(model, losses.cross_entropy)
    _, model_state, train_loss = split_train(model, losses.cross_entropy)

    @jax.jit
    def step(train_loss, params, model_state):
        def mean_loss(params):
            values, new_state = train_loss(params, model_state, batch, jax.random.key(1))
            return jnp.mean(values), new_state

        grads, new_state = jax.grad(mean_loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), new_state

    params, model_state = step(train_loss, params, model_state)
    before = loss_fn(params, batch)
    params, loss_fn = split(merge(model, params, model_state), losses.cross_entropy)
    return [*before.tolist(), *loss_fn(params, batch).tolist()]


results = {
    "FeedForward": losses_of(FeedForward(image_size=4, width=4, rngs=nnx.Rngs(0))),
    "SmallCNN": losses_of(filled(lambda: SmallCNN(image_size=4, rngs=nnx.Rngs(0)))),
    "ResNet18": losses_of(filled(lambda: ResNet18(width=2, rngs=nnx.Rngs(0)))),
    "Regularized": losses_of(Regularized(nnx.Rngs(0))),
}
if __name__ == "__main__":
    print(json.dumps({"graph mode": nnx.set_graph_mode.current_value(), "losses": results}))
