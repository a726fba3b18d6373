"""The networks that play against each other in SpCycleGAN, as all seeds start."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jaxnoise as jn

from ._config import GanPlan

DISCRIMINATORS = ("judge_images", "judge_labels")
GENERATORS = ("to_images", "to_labels", "to_masks")


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Networks by name.

    Attributes:
      params: player → network → initial parameters, (seeds, …).
      model_state: network → initial state, and the empty pools, (seeds, …).
      apply: network → its outputs as a function of these.
    """

    params: dict[str, dict[str, Any]]
    model_state: dict[str, Any]
    apply: dict[str, Any]


def start_of(plan: GanPlan, method: str, seeds: int) -> Start:
    """Initialises the networks from the seeds 0, 1, 2, …; CycleGAN has none from G(x) to masks."""
    generators = [n for n in GENERATORS if method == "spcyclegan" or n != "to_masks"]
    names = [*DISCRIMINATORS, *generators]
    split = [
        {
            name: network(plan, name in DISCRIMINATORS, key)
            for name, key in zip(names, jax.random.split(jax.random.key(seed), 5), strict=False)
        }
        for seed in range(seeds)
    ]
    window = jnp.zeros((*[plan.crop] * plan.ndim, 1))
    pools = [jn.training.image_pool(window, plan.pool)] * seeds

    def stacked(part: int, name: str):
        return _stack([of_seed[name][part] for of_seed in split])

    return Start(
        params={
            "discriminators": {name: stacked(0, name) for name in DISCRIMINATORS},
            "generators": {name: stacked(0, name) for name in generators},
        },
        model_state={name: stacked(1, name) for name in names}
        | {"pool": {"image": _stack(pools), "label": _stack(pools)}},
        apply={name: apply for name, (_, _, apply) in split[0].items()},
    )


@functools.partial(jax.jit, static_argnames=("plan", "judges"))
def network(plan: GanPlan, judges: bool, key: jax.Array) -> tuple[Any, Any, Any]:
    """(params, model_state, apply) of a discriminator, or of a generator."""
    shared: dict[str, Any] = {"in_channels": 1, "width": plan.width, "ndim": plan.ndim}
    rngs = nnx.Rngs(key)
    if judges:
        model = jn.models.PatchDiscriminator(layers=plan.layers, **shared, rngs=rngs)
    else:
        model = jn.models.ResNetGenerator(out_channels=1, blocks=plan.blocks, **shared, rngs=rngs)
    return jn.models.split_apply(model)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
