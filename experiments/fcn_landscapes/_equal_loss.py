"""The parameters at which networks have the same training loss."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from ._problem import Problem
from ._train import Network, Snapshots, mean_loss

_TOLERANCE = 1e-2  # of the place between two snapshots
LEARNT = 0.97  # of the loss of a constant; a training that stays above has learnt nothing


def target_losses(rows: list[dict[str, Any]], given: float | None) -> list[float]:
    """For each seed the lowest training loss that all trainings reach, or the one that is given.

    Args:
      rows: what `trained` gave, one for each training to be compared.
      given: the loss wanted; where one of the trainings misses it, the lowest that all reach.
    """
    lowest = np.array([[min(losses) for losses in row["train"]] for row in rows]).max(0)
    return [float(loss if given is None else max(loss, given)) for loss in lowest]


def comparable_seeds(targets: list[float], constant_loss: float) -> list[int]:
    """The seeds in which every training learnt something; all, where there is none."""
    learnt = [seed for seed, loss in enumerate(targets) if loss < LEARNT * constant_loss]
    return learnt or list(range(len(targets)))


def at_loss(
    problem: Problem,
    network: Network,
    snapshots: Snapshots,
    losses: list[float],
    target: float,
    seed: int,
) -> tuple[Any, float]:
    """The first point along the snapshots, joined by lines, whose training loss is the target.

    Args:
      losses: training loss at each snapshot.
      target: one that the training reached.

    Returns:
      (parameters, epoch), the latter a fraction between those of two snapshots.
    """
    epochs = list(snapshots)
    k = next(k for k, loss in enumerate(losses) if loss <= target)
    after = snapshots.load(epochs[k], seed)
    if k == 0 or losses[k] == target:
        return after, float(epochs[k])
    before = snapshots.load(epochs[k - 1], seed)

    def between(part: float) -> Any:
        return jax.tree.map(lambda a, b: (1 - part) * a + part * b, before, after)

    def excess(part: float) -> float:
        ends = {0.0: losses[k - 1], 1.0: losses[k]}
        loss = ends.get(part)
        if loss is None:
            loss = mean_loss(network, between(part), problem.patches["train"])
        return loss - target

    part: Any = brentq(excess, 0.0, 1.0, xtol=_TOLERANCE)
    return between(part), epochs[k - 1] + part * (epochs[k] - epochs[k - 1])
