"""Logistic regression with L2: the exact solution, and that of SGD.

f_i(w) = log(1 + exp(−y_i x_iᵀw)) + (λ/2)‖w‖² with y_i = ±1 and λ = 1/n. The penalty is part of
every component, so its gradient λw is, too. No bias; the features are as they are stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
from jax.tree_util import Partial
from scipy.special import expit

import jaxnoise as jn

from .._common import say
from ._config import Plan
from ._measure import by_name, vanishing_numbers

TOLERANCE = 1e-8  # of ‖∇F(w_*)‖


def binary(dataset: jn.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) float32 and labels (n,) ±1; images as even against odd classes."""
    train, name = dataset.train, dataset.info.name
    label = train.get("label")
    if label is None or label.ndim != 1 or not ({"features", "image"} & train.keys()):
        raise ValueError(
            f"--data {name}: logistic regression needs features, or images, and labels"
        )
    if "features" in train:
        classes = np.unique(label)
        if len(classes) != 2:
            raise ValueError(f"--data {name}: it has {len(classes)} classes, not two")
        return train["features"], np.where(label == classes[1], 1, -1).astype(np.float32)
    images = train["image"].reshape(len(label), -1)
    scale = 255 if images.dtype == np.uint8 else 1
    return images.astype(np.float32) / scale, np.where(label % 2, -1, 1).astype(np.float32)


def logistic_loss(weight_decay: jax.Array, w: jax.Array, batch: dict) -> jax.Array:
    """f_i(w) of each example, (B,)."""
    margins = batch["label"] * (batch["features"] @ w)
    return jax.nn.softplus(-margins) + weight_decay / 2 * jnp.sum(w**2)


def _train_loss(weight_decay, w, model_state, batch, key):
    return logistic_loss(weight_decay, w, batch), model_state


class Objective:
    """F in float64: value, gradient and Hessian."""

    def __init__(self, features: np.ndarray, label: np.ndarray, weight_decay: float):
        self.features, self.label = features.astype(np.float64), label.astype(np.float64)
        self.weight_decay = weight_decay

    def margins(self, w: np.ndarray) -> np.ndarray:
        return self.label * (self.features @ w)

    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = self.margins(w)
        value = np.logaddexp(0, -margins).mean() + self.weight_decay / 2 * w @ w
        pull = self.label * expit(-margins) / len(margins)
        return float(value), self.weight_decay * w - self.features.T @ pull

    def hessian(self, w: np.ndarray) -> np.ndarray:
        margins = self.margins(w)
        curvature = expit(margins) * expit(-margins) / len(margins)
        weighted = self.features.T * curvature
        return weighted @ self.features + self.weight_decay * np.eye(len(w))


def solve(objective: Objective) -> np.ndarray:
    """w_* by L-BFGS, polished by Newton steps.

    Raises:
      ValueError: if ‖∇F(w_*)‖ stays above 1e-8.
    """
    start = np.zeros(objective.features.shape[1])
    options = {"maxiter": 500, "maxfun": 1000, "gtol": 1e-10, "ftol": 1e-15, "maxcor": 20}
    found = scipy.optimize.minimize(
        objective.value_and_gradient, start, jac=True, method="L-BFGS-B", options=options
    )
    w, norm = found.x, np.inf
    for _ in range(20):
        gradient = objective.value_and_gradient(w)[1]
        norm = float(np.linalg.norm(gradient))
        if norm <= TOLERANCE:
            return w
        w = w - np.linalg.solve(objective.hessian(w), gradient)
    raise ValueError(
        f"logistic regression: ‖∇F(w_*)‖ = {norm:.1e} stays above {TOLERANCE:.0e}: "
        "scale the features"
    )


def logistic(dataset: jn.data.Dataset, plan: Plan, folder: Path) -> dict[str, Any]:
    """Measures one data set at w_* and at the last iterates of SGD, one per seed."""
    name = dataset.info.name
    features, label = binary(dataset)
    n, d = features.shape
    weight_decay = 1 / n
    say(f"logistic regression on {name}: {n} examples, {d} features, solving")
    objective = Objective(features, label, weight_decay)
    best = solve(objective)
    best_value = objective.value_and_gradient(best)[0]
    smoothness = float(np.max(np.sum(features**2, axis=1))) / 4 + weight_decay
    step_size = plan.sgd_step / smoothness

    say(f"logistic regression on {name}: SGD, {plan.seeds} seeds, step size {step_size:.3g}")
    batch = {"features": jnp.asarray(features), "label": jnp.asarray(label)}
    fitted = jn.training.fit(
        jax.vmap(jax.random.key)(jnp.arange(plan.seeds)),
        Partial(_train_loss, jnp.float32(weight_decay)),
        jnp.zeros(d),
        (),
        optax.sgd(step_size),
        batch,
        jn.schedules.NoiseStage(plan.sgd_epochs, step_size, batch_size=1),
        replicas=plan.seeds,
        checkpoint_dir=folder / "checkpoints",
    )
    loss_fn = Partial(logistic_loss, jnp.float32(weight_decay))

    def numbers(w: np.ndarray) -> dict[str, Any]:
        value, gradient = objective.value_and_gradient(w)
        norms = jn.gradients.squared_norms(loss_fn, jnp.asarray(w, jnp.float32), batch)
        return {
            "gap": value - best_value,
            "gradient_norm": float(np.linalg.norm(gradient)),
            "train_accuracy": float(np.mean(objective.margins(w) > 0)),
            **vanishing_numbers(norms),
        }

    return {
        "description": dataset.info.description,
        "task": "even against odd" if "features" not in dataset.train else "its two classes",
        "num_examples": n,
        "num_features": d,
        "weight_decay": weight_decay,
        "smoothness": smoothness,
        "step_size": step_size,
        "best_value": best_value,
        "penalty_squared_norm": weight_decay**2 * float(best @ best),
        "points": {
            "w_*": by_name([numbers(best)]),
            "w_SGD": by_name([numbers(np.asarray(w, np.float64)) for w in fitted.params]),
        },
    }
