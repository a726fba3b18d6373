"""Networks in plain JAX and their gradients by a Python loop over the examples."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gradients"


def cross_entropy(scores, label):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), label[:, None], axis=1)[:, 0]


def mlp(w, batch):
    """Dense layers (out, in) with ReLU between them."""
    x = jax.nn.relu(batch["x"] @ w["fc0.weight"].T + w["fc0.bias"])
    x = jax.nn.relu(x @ w["fc1.weight"].T + w["fc1.bias"])
    return cross_entropy(x @ w["fc2.weight"].T + w["fc2.bias"], batch["y"])


def cnn(w, batch):
    """Images (B, C, H, W), kernels (out, in, 3, 3): two convolutions, spatial mean, read-out."""

    def conv(x, name):
        y = jax.lax.conv(x, w[f"{name}.weight"], (1, 1), "SAME")
        return jax.nn.relu(y + w[f"{name}.bias"][:, None, None])

    x = conv(batch["x"], "conv0")
    b, c, height, width = x.shape
    x = conv(x.reshape(b, c, height // 2, 2, width // 2, 2).max((3, 5)), "conv1")
    return cross_entropy(x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"], batch["y"])


class Stored:
    """A network with its data and the numbers that automatic differentiation elsewhere gave."""

    def __init__(self, name, loss_fn):
        archive = np.load(FIXTURES / f"example_norms_{name}.npz", allow_pickle=False)
        self.expected = {key: archive[key] for key in archive.files}
        self.names = [str(name) for name in self.expected["param_order"]]
        self.loss_fn = loss_fn
        self.params = {name: self.expected[f"w_{name}"] for name in self.names}
        self.data = {"x": self.expected["x"], "y": self.expected["y"]}


@pytest.fixture(scope="session", params=["mlp", "cnn"])
def stored(request):
    return Stored(request.param, {"mlp": mlp, "cnn": cnn}[request.param])


@pytest.fixture(scope="session")
def stored_mlp():
    return Stored("mlp", mlp)


@jax.jit
def gradient_of_one(loss_fn, params, example):
    return jax.grad(lambda w: loss_fn(w, example)[0])(params)


@pytest.fixture(scope="session")
def by_loop():
    """The examples' gradients in float64, one `jax.grad` after another: leaves (n, …)."""

    def gradients(loss_fn, params, data):
        # A network may keep its statistics in single precision.
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):

            def wide(x):
                return jnp.asarray(x, np.float64 if jnp.issubdtype(x.dtype, np.inexact) else None)

            params, data = jax.tree.map(wide, (params, data))
            loss_fn = Partial(loss_fn)
            n = len(jax.tree.leaves(data)[0])
            examples = [jax.tree.map(lambda x: x[i : i + 1], data) for i in range(n)]  # noqa: B023
            one_by_one = [jax.device_get(gradient_of_one(loss_fn, params, e)) for e in examples]
            return jax.tree.map(lambda *leaves: np.stack(leaves), *one_by_one)

    return gradients


@pytest.fixture(scope="session")
def dense():
    """(loss_fn, params, data): a dense layer under tanh, 9 examples, single precision."""

    def loss_fn(params, batch):
        return jnp.sum(jnp.tanh(batch["x"] @ params["w"] + params["b"]) ** 2, axis=1)

    rng = np.random.default_rng(3)
    params = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}
    data = {"x": rng.normal(size=(9, 3))}
    single = jax.tree.map(np.float32, (params, data))
    return loss_fn, *single
