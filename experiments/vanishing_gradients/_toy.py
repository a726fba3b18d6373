"""SGD in the plane: minimisers of the components that almost agree, and others that don't.

f_i(w) = ½ Σ_j a_ij (w_j − c_ij)² with weights a_ij drawn between 0.5 and 1.5 times (1, 3), and
minimisers c_i drawn from N(0, s²I). Where all c_i were one point, every component gradient would
vanish there and SGD would stop at it; where they are spread, it wanders around the optimum.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import jaxnoise as jn

CASES = {"i: close minimisers": 0.02, "ii: spread minimisers": 1.0}
NUM_COMPONENTS, NUM_STEPS, STEP_SIZE, NUM_PATHS = 100, 300, 0.1, 3
START = (-3.0, 2.0)


def component_losses(w: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """f_i(w) of each component in the batch, (B,)."""
    return 0.5 * jnp.sum(batch["weight"] * (w - batch["minimiser"]) ** 2, axis=-1)


def optimum(components: dict[str, jax.Array]) -> jax.Array:
    weight, minimiser = components["weight"], components["minimiser"]
    return jnp.sum(weight * minimiser, axis=0) / jnp.sum(weight, axis=0)


@jax.jit
def sgd_path(order: jax.Array, components: dict[str, jax.Array]) -> jax.Array:
    """The iterates of SGD that takes the components (T,) in this order, (T + 1, 2)."""

    def step(w, i):
        batch = jax.tree.map(lambda x: x[i][None], components)
        w = w - STEP_SIZE * jax.grad(lambda w: component_losses(w, batch)[0])(w)
        return w, w

    start = jnp.array(START)
    return jnp.concatenate([start[None], jax.lax.scan(step, start, order)[1]])


def toy() -> dict[str, Any]:
    """Components, optimum, paths of SGD, and the largest squared norm at the optimum."""
    results = {}
    for number, (name, spread) in enumerate(CASES.items()):
        weight_key, minimiser_key, *path_keys = jax.random.split(
            jax.random.fold_in(jax.random.key(0), number), 2 + NUM_PATHS
        )
        shape = (NUM_COMPONENTS, 2)
        components = {
            "weight": jax.random.uniform(weight_key, shape, minval=0.5, maxval=1.5)
            * jnp.array([1.0, 3.0]),
            "minimiser": spread * jax.random.normal(minimiser_key, shape),
        }
        best = optimum(components)
        norms = jn.gradients.squared_norms(component_losses, best, components)
        orders = [jax.random.randint(k, (NUM_STEPS,), 0, NUM_COMPONENTS) for k in path_keys]
        paths = jnp.stack([sgd_path(order, components) for order in orders])
        late = paths[:, -NUM_STEPS // 3 :]
        results[name] = {
            "spread": spread,
            "components": components,
            "optimum": best,
            "paths": paths,
            "mean_squared_norm": float(norms.mean()),
            "late_distance": float(jnp.linalg.norm(late - best, axis=-1).mean()),
        }
    return results
