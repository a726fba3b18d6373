"""Points of equal training loss, and how flat the loss is around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnoise as jn
from jaxnoise.landscape import LossGrid, TrajectoryPlane

from .._common import remembered, say
from ._config import Plan
from ._equal_loss import at_loss, comparable_seeds, target_losses
from ._flatness import NORMALIZATIONS, flatness
from ._problem import Problem
from ._train import LOSSES, Network, Run, Snapshots, mean_loss, snapshots_of


class Member(NamedTuple):
    """One training among those that are compared, and what `trained` gave of it."""

    run: Run
    network: Network
    row: dict[str, Any]


class Study(NamedTuple):
    """What is compared how.

    Attributes:
      name: of the files.
      radius: of the planes.
      epsilons: of C_ε.
    """

    name: str
    radius: float
    epsilons: tuple[float, ...]


def compared(
    problem: Problem, plan: Plan, members: dict[str, Member], study: Study, folder: Path
) -> dict[str, Any]:
    """Losses and flatness of every member at equal training loss.

    Returns:
      {"targets": one for each seed, "seeds": those in which all learnt something, "constant_loss":
      that of the best constant output, "rows": title → measure → one for each of these seeds,
      "grids": normalisation → title → landscape of the first of them}.
    """
    targets = target_losses([member.row for member in members.values()], plan.target_loss)
    seeds = comparable_seeds(targets, problem.constant_loss)
    rows: dict[str, dict[str, list[float]]] = {}
    grids: dict[str, dict[str, LossGrid]] = {kind: {} for kind in NORMALIZATIONS}
    for title, member in members.items():
        stem = folder / f"{member.run.name}_{study.name}"
        found = []
        for seed in seeds:
            find = functools.partial(point, problem, plan, member, targets[seed], seed, folder)
            at = functools.cache(find)
            path = stem.with_name(f"{stem.name}_seed_{seed}")
            compute = functools.partial(measured, problem, plan, member, study, at, path)
            found.append(remembered(path.with_name(f"{path.name}.json"), compute))
            for kind in NORMALIZATIONS if seed == seeds[0] else ():
                file = stem.with_name(f"{stem.name}_{kind}.npz")
                if not file.is_file():
                    drawn(problem, plan, member, study, at()[0], kind, file)
                grids[kind][title] = LossGrid.load(file)
        rows[title] = {measure: [row[measure] for row in found] for measure in found[0]}
    return {
        "targets": targets,
        "seeds": seeds,
        "constant_loss": problem.constant_loss,
        "rows": rows,
        "grids": grids,
    }


def point(
    problem: Problem, plan: Plan, member: Member, target: float, seed: int, folder: Path
) -> tuple[Any, float]:
    """Parameters and epoch at which a training has the target loss."""
    snapshots = snapshots_of(plan, member.run, member.network, folder)
    return at_loss(problem, member.network, snapshots, member.row["train"][seed], target, seed)


def measured(
    problem: Problem, plan: Plan, member: Member, study: Study, at: Callable, path: Path
) -> dict[str, float]:
    """Losses and flatness at a point."""
    say(f"{path.name}: flatness")
    params, epoch = at()
    losses = {
        f"{part} loss": mean_loss(member.network, params, problem.patches[part]) for part in LOSSES
    }
    planes = path.with_name(f"{path.name}_planes")
    probe = problem.probe(plan.probe)
    measures = flatness(member.network, params, probe, plan, study.radius, study.epsilons, planes)
    return {"epoch": epoch, **losses, **measures}


def drawn(
    problem: Problem,
    plan: Plan,
    member: Member,
    study: Study,
    params: Any,
    normalization: Any,
    file: Path,
) -> None:
    """Writes the landscape over two random directions, the same for all members."""
    say(f"{file.stem}: landscape of {plan.resolution}×{plan.resolution} points")
    jn.landscape.loss_grid(
        member.network.loss_fn,
        params,
        jn.landscape.random_directions(jax.random.key(0), params, normalization=normalization),
        problem.probe(plan.probe),
        radius=study.radius,
        resolution=plan.resolution,
        path=file,
        progress=True,
    )


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
