"""Networks in plain JAX, stored numbers of a reference, and dense Hessians in double precision."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sharpness"


def cross_entropy(scores, label):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), label[:, None], axis=1)[:, 0]


def mlp(activation, num_layers, w, batch):
    """Dense layers (out, in) with the activation between them."""
    x = batch["x"]
    for i in range(num_layers):
        x = activation(x) if i else x
        x = x @ w[f"fc{i}.weight"].T + w[f"fc{i}.bias"]
    return cross_entropy(x, batch["y"])


def cnn(w, batch):
    """Images (B, C, H, W), kernels (out, in, 3, 3): two convolutions, spatial mean, read-out."""

    def conv(x, name):
        y = jax.lax.conv(x, w[f"{name}.weight"], (1, 1), "SAME")
        return jax.nn.relu(y + w[f"{name}.bias"][:, None, None])

    x = conv(batch["x"], "conv0")
    b, c, height, width = x.shape
    x = conv(x.reshape(b, c, height // 2, 2, width // 2, 2).max((3, 5)), "conv1")
    return cross_entropy(x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"], batch["y"])


LOSSES = {
    "mlp_relu": lambda w, batch: mlp(jax.nn.relu, 3, w, batch),
    "mlp_tanh_ragged": lambda w, batch: mlp(jnp.tanh, 2, w, batch),
    "cnn_relu": cnn,
}


class Stored:
    """A network with its data and the numbers that the reference gave, in double precision."""

    def __init__(self, name):
        archive = np.load(FIXTURES / f"adaptive_sharpness_{name}.npz", allow_pickle=False)
        self.expected = {key: archive[key] for key in archive.files}
        self.loss_fn = Partial(LOSSES[name])
        names = [str(name) for name in self.expected["param_order"]]
        self.params = {name: self.expected[f"w_{name}"] for name in names}
        self.data = {"x": self.expected["x"], "y": self.expected["y"]}
        self.batch_size = int(self.expected["batch_size"])


@pytest.fixture(scope="session")
def stored():
    kept = {}
    return lambda name: kept.setdefault(name, Stored(name))


class Small:
    """A dense tanh network of 17 parameters with 11 examples; its Hessian by `jax.hessian`."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.params = {"hidden": rng.normal(size=(3, 4)), "out": rng.normal(size=5)}
        self.data = {"x": rng.normal(size=(11, 3)), "y": rng.normal(size=11)}
        self.single = jax.tree.map(np.float32, (self.params, self.data))
        self.size = 17

    @staticmethod
    def loss_fn(params, batch):
        hidden = jnp.tanh(batch["x"] @ params["hidden"])
        return (hidden @ params["out"][:4] + params["out"][4] - batch["y"]) ** 2

    def hessian(self):
        with jax.enable_x64(True):
            vector, unflatten = ravel_pytree(self.params)

            def mean_loss(v):
                return jnp.mean(self.loss_fn(unflatten(v), self.data))

            return np.asarray(jax.jit(jax.hessian(mean_loss))(vector))


@pytest.fixture(scope="session")
def small():
    return Small()


@pytest.fixture(scope="session")
def small_hessian(small):
    return small.hessian()


class Quadratic:
    """½ (w − x)ᵀ H (w − x) with H an entry of the data, so that another H compiles nothing."""

    @staticmethod
    def loss_fn(w, batch):
        step = w - batch["x"]
        return 0.5 * jnp.einsum("bi,bij,bj->b", step, batch["H"], step)

    @staticmethod
    def data(hessian, x=0.0, copies=3):
        hessian = np.asarray(hessian)
        stack = np.broadcast_to(hessian, (copies, *hessian.shape))
        return {"H": stack, "x": np.broadcast_to(x, (copies, len(hessian))).astype(hessian.dtype)}


@pytest.fixture(scope="session")
def quadratic():
    return Quadratic
