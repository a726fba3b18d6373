"""The learning rate of a grid that does best on held-out training examples."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from .._common import Curves, remembered
from ._config import Plan
from ._methods import AT_OWN_RATE
from ._problem import Problem
from ._train import Run, trained


def at_best_rate(
    problem: Problem, plan: Plan, run: Run, folder: Path, curves: Curves
) -> dict[str, Any]:
    """The optimizer at that learning rate of the grid that does best on held-out examples.

    Each is trained on the other four fifths of the training set. The accuracy on the held-out
    fifth decides, averaged over the seeds, then the loss; where all diverge, it is the lowest. The
    best is trained on all of the set.
    """

    def record(of: Run) -> dict[str, Any]:
        stem = folder.with_name(of.name)
        compute = functools.partial(trained, problem, plan, of, stem, curves)
        return remembered(stem.with_name(f"{of.name}.json"), compute)

    tried = {}
    for factor in plan.grid:
        row = record(dataclasses.replace(run, factor=factor, searching=True))
        if row["diverged_at"] is None:
            accuracy, loss = (last_mean(row[key]) for key in ("test_accuracy", "test_loss"))
            tried[factor] = {"accuracy": accuracy, "loss": loss}
    best = max(
        tried,
        key=lambda factor: (tried[factor]["accuracy"], -tried[factor]["loss"]),
        default=min(plan.grid),
    )
    if best == 1:
        chosen = record(dataclasses.replace(run, method=AT_OWN_RATE[run.method]))
    else:
        at_best = dataclasses.replace(run, factor=best)
        chosen = trained(problem, plan, at_best, folder, curves)
    return {**chosen, "noise": {}, "factor": best, "tried": tried}


def last_mean(curves: Any) -> float:
    """The mean over the seeds of what (seeds, epochs) ends with."""
    return float(np.mean(np.asarray(curves)[:, -1]))
