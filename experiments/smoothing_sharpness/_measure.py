"""What is measured at the start and at the end of a run."""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

import jaxnoise as jn
from jaxnoise._streaming import default_chunk_size, sum_examples
from jaxnoise._tree import num_examples

from .._common import replica
from ._config import Plan
from ._problem import BATCH, Problem

STEPS = 20  # of the search for the worst perturbation
SCALINGS: dict[str, Literal["none", "magnitude"]] = {
    "sharpness": "none",  # as in the paper
    "adaptive_sharpness": "magnitude",
}


def measured_starts(problem: Problem, plan: Plan) -> list[dict[str, float]]:
    """Where each seed starts: training loss, norm of the gradient, C, and the largest eigenvalue of
    the Hessian, called smoothness."""
    starts, found = problem.starts, []
    norms = gradient_norms(starts.train_loss, starts.params, starts.model_state, problem.probe)
    for seed in range(plan.seeds):
        params, model_state = replica((starts.params, starts.model_state), seed)
        loss_fn = problem.starts.loss_fn(params, model_state, jn.losses.cross_entropy)
        largest = jn.sharpness.hessian_eigenvalues(
            loss_fn, params, problem.probe, key=jax.random.key(0)
        )
        row = {
            "train_loss": jn.training.evaluate(loss_fn, params, problem.train)["loss"],
            "gradient_norm": norms[seed],
            "noise_std": jn.gradients.noise_std(loss_fn, params, problem.probe),
            "smoothness": largest.values[0],
        }
        found.append({name: float(value) for name, value in row.items()})
    return found


def measured(
    problem: Problem, plan: Plan, params: Any, model_state: Any, start_loss: float
) -> dict[str, Any]:
    """Losses and accuracies in inference mode, both kinds of sharpness, and C.

    A run whose training loss is above that of its start, or no number, has diverged, and nothing
    more is measured.
    """
    metrics = problem.starts.loss_fn(params, model_state, jn.losses.classification)
    row: dict[str, Any] = {}
    for part, data in (("train", problem.train), ("test", problem.test)):
        means = jn.training.evaluate(metrics, params, data)
        row |= {f"{part}_{name}": float(value) for name, value in means.items()}
    row["diverged"] = not row["train_loss"] <= start_loss
    row |= dict.fromkeys(("noise_std", *SCALINGS))
    if row["diverged"]:
        return row
    loss_fn = problem.starts.loss_fn(params, model_state, jn.losses.cross_entropy)
    row["noise_std"] = float(jn.gradients.noise_std(loss_fn, params, problem.probe))
    for name, scaling in SCALINGS.items():
        found = jn.sharpness.worst_case_sharpness(
            loss_fn,
            params,
            problem.batches,
            plan.rho,
            norm="linf",
            scaling=scaling,
            num_steps=STEPS,
            batch_size=BATCH,
        )
        row[name] = float(found.value)
    return row


@jax.jit
def gradient_norms(train_loss: Any, params: Any, model_state: Any, data: Any) -> jax.Array:
    """(replicas,) ‖∇L(w)‖ over the data in inference mode, of each replica.

    Args:
      train_loss: as `jaxnoise.models.split_train` gives it.
      params, model_state: (replicas, …).
      data: batch of examples.
    """
    n, chunk_size = num_examples(data), default_chunk_size(data)

    def one(point: Any) -> jax.Array:
        w, state = point

        def total(w: Any, chunk: Any, weights: jax.Array) -> jax.Array:
            return jnp.sum(weights * train_loss.evaluate(w, state, chunk)["loss"])

        gradients = functools.partial(jax.grad(total), w)
        return optax.tree.norm(sum_examples(gradients, data, chunk_size)) / n

    return jax.lax.map(one, (params, model_state))
