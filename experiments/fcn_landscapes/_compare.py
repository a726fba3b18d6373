"""Points of equal training loss, and how flat the loss is around them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnoise as jn
from jaxnoise.landscape import LossGrid, TrajectoryPlane

from .._common import remembered, say
from ._config import Plan
from ._equal_loss import at_loss, target_losses
from ._flatness import NORMALIZATIONS, flatness
from ._problem import Problem
from ._train import LOSSES, Network, Run, Snapshots, mean_loss, snapshots_of


class Member(NamedTuple):
    """One training among those that are compared, and what `trained` gave of it."""

    run: Run
    network: Network
    row: dict[str, Any]


def compared(
    problem: Problem,
    plan: Plan,
    members: dict[str, Member],
    epsilons: tuple[float, float],
    radius: float,
    folder: Path,
    name: str,
) -> dict[str, Any]:
    """Losses and flatness of every member at equal training loss.

    Args:
      members: title → training.
      epsilons: of C_ε.
      radius: of the planes.
      folder: of the parts of the run.
      name: of the comparison.

    Returns:
      {"targets": one loss for each seed, "rows": title → measure → one for each seed, "grids":
      normalisation → title → landscape of seed 0}.
    """
    targets = target_losses([member.row for member in members.values()], plan.target_loss)
    probe = problem.probe(plan.probe)
    rows: dict[str, dict[str, list[float]]] = {}
    grids: dict[str, dict[str, LossGrid]] = {kind: {} for kind in NORMALIZATIONS}
    for title, member in members.items():
        network, stem = member.network, f"{member.run.name}_{name}"
        snapshots = snapshots_of(plan, member.run, network, folder)

        def measured(
            seed: int, title=title, member=member, snapshots=snapshots, stem=stem
        ) -> dict[str, Any]:
            say(f"{title}, seed {seed}: flatness at training loss {targets[seed]:.4g}")
            losses = member.row["train"][seed]
            params, epoch = at_loss(problem, member.network, snapshots, losses, targets[seed], seed)
            at_point = {
                f"{part} loss": mean_loss(member.network, params, problem.patches[part])
                for part in LOSSES
            }
            planes = folder / f"{stem}_seed_{seed}_planes"
            measures = flatness(member.network, params, probe, plan, epsilons, radius, planes)
            return {"epoch": epoch, **at_point, **measures}

        of_seeds = [
            remembered(folder / f"{stem}_seed_{seed}.json", functools.partial(measured, seed))
            for seed in range(plan.seeds)
        ]
        rows[title] = {measure: [row[measure] for row in of_seeds] for measure in of_seeds[0]}
        for kind in NORMALIZATIONS:
            path = folder / f"{stem}_{kind}.npz"
            if not path.is_file():
                say(f"{title}: landscape, {kind}, {plan.resolution}×{plan.resolution} points")
                params, _ = at_loss(
                    problem, network, snapshots, member.row["train"][0], targets[0], 0
                )
                directions = jn.landscape.random_directions(
                    jax.random.key(0), params, normalization=kind
                )
                jn.landscape.loss_grid(
                    network.loss_fn,
                    params,
                    directions,
                    probe,
                    radius=radius,
                    resolution=plan.resolution,
                    path=path,
                    progress=True,
                )
            grids[kind][title] = LossGrid.load(path)
    return {"targets": targets, "rows": rows, "grids": grids}


def paths(
    problem: Problem, plan: Plan, members: dict[str, Member], folder: Path
) -> dict[str, tuple[TrajectoryPlane, LossGrid]]:
    """Title → the plane of the snapshots of seed 0 after the first, and the landscape on it."""
    found = {}
    for title, member in members.items():
        stem = folder / f"{member.run.name}_path"
        snapshots = snapshots_of(plan, member.run, member.network, folder)
        draw = functools.partial(_path, problem, plan, member, snapshots, stem.with_suffix(".npz"))
        kept = remembered(stem.with_suffix(".json"), draw)
        if kept is not None:
            coordinates, shares = np.array(kept["coordinates"]), np.array(kept["shares"])
            plane = TrajectoryPlane((None, None), coordinates, shares)
            found[title] = plane, LossGrid.load(stem.with_suffix(".npz"))
    return found


def _path(
    problem: Problem, plan: Plan, member: Member, snapshots: Snapshots, file: Path
) -> dict[str, Any] | None:
    """Writes the landscape to a file; None where there are too few snapshots for a plane."""
    iterates = [snapshots.load(epoch, 0) for epoch in snapshots if epoch > 0]
    if len(iterates) < 3:
        return None
    say(f"{member.run.name}: landscape along its path")
    plane = jn.landscape.trajectory_plane(iterates)
    jn.landscape.loss_grid(
        member.network.loss_fn,
        iterates[-1],
        plane.directions,
        problem.probe(plan.probe),
        radius=plane.ranges(),
        resolution=plan.resolution,
        path=file,
        progress=True,
    )
    return {"coordinates": plane.coordinates, "shares": plane.explained_variance}
