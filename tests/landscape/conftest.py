"""A small network and its mean losses in float64 NumPy, one point and one example at a time."""

import jax.numpy as jnp
import numpy as np
import pytest


class Problem:
    """Two tanh layers with a squared error; 11 examples."""

    def __init__(self):
        rng = np.random.default_rng(5)

        def draw(*shape):
            return np.asarray(rng.normal(size=shape), np.float32)

        self.params = {"hidden": draw(3, 4), "bias": draw(4), "out": draw(4)}
        self.directions = tuple(
            {"hidden": draw(3, 4), "bias": draw(4), "out": draw(4)} for _ in range(2)
        )
        self.data = {"x": draw(11, 3), "y": draw(11)}

    @staticmethod
    def loss_fn(params, batch):
        hidden = jnp.tanh(batch["x"] @ params["hidden"] + params["bias"])
        return (hidden @ params["out"] - batch["y"]) ** 2

    @staticmethod
    def metrics_fn(params, batch):
        losses = Problem.loss_fn(params, batch)
        return {"loss": losses, "large": losses > 1, "file": 2 * losses, "identity": -losses}

    def slow_losses(self, *coordinates):
        """(n,) losses at params + Σ c_k d_k."""
        point = {name: np.asarray(w, np.float64) for name, w in self.params.items()}
        for c, direction in zip(coordinates, self.directions, strict=False):
            point = {name: w + c * np.asarray(direction[name]) for name, w in point.items()}
        losses = []
        for x, y in zip(self.data["x"], self.data["y"], strict=True):
            hidden = np.tanh(x.astype(np.float64) @ point["hidden"] + point["bias"])
            losses.append((hidden @ point["out"] - np.float64(y)) ** 2)
        return np.array(losses)

    def slow_grid(self, alphas, betas):
        return np.array([[self.slow_losses(a, b).mean() for b in betas] for a in alphas])


@pytest.fixture(scope="session")
def problem():
    return Problem()
