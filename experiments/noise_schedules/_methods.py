"""The methods by stages: what each has for learning rate and batch size, and how it is chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

import jaxnoise as jn
from jaxnoise.schedules import NoiseStage

from ._config import Plan, Task, file_name

METHODS = {
    "constant": "1, constant",
    "decay_lr": "2, learning rate decays",
    "grow_batch": "3, batch grows",
    "hybrid": "4, hybrid",
    "measured": "5, hybrid by measurement",
}
STARTS = {
    "own": "each method from its own batch size, as in the paper",
    "equal": "all methods from one batch size, hence from equal δ",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A method on a problem, from one batch size."""

    task: Task
    method: str
    batch_size: int

    @property
    def measures(self) -> bool:
        """Whether the stages after the first are chosen by measurement."""
        return self.method == "measured"

    @property
    def name(self) -> str:
        return file_name(self.task.data, self.task.network, self.method, str(self.batch_size))


def runs_of(task: Task, start: str, plan: Plan) -> dict[str, Run]:
    """Method → its run from the batch size that the comparison wants."""
    own = {
        "constant": plan.batch_size,
        "decay_lr": plan.batch_size,
        "grow_batch": plan.grow_from,
        "hybrid": plan.hybrid_from,
        "measured": plan.hybrid_from,
    }
    sizes = own if start == "own" else dict.fromkeys(own, plan.grow_from)
    return {method: Run(task, method, size) for method, size in sizes.items()}


def stages_of(run: Run, plan: Plan) -> tuple[NoiseStage, ...]:
    """The stages, if C stays as it is."""
    return jn.schedules.noise_stages(
        "hybrid" if run.measures else run.method,  # type: ignore[arg-type]
        learning_rate=plan.learning_rate,
        batch_size=run.batch_size,
        num_stages=plan.stages,
        epochs_per_stage=run.task.epochs // plan.stages,
        decay=plan.decay,
    )


def measured_stage(
    deltas: np.ndarray,
    noise_stds: np.ndarray,
    previous: tuple[np.ndarray, NoiseStage],
    plan: Plan,
    num_examples: int,
) -> tuple[np.ndarray, NoiseStage]:
    """The next stage, in which each seed has the degree of smoothing that it should.

    The batch size is one for all seeds, that of the hybrid method at the geometric means over the
    seeds; each then has its own learning rate. δ is missed where the limits leave no choice.

    Args:
      deltas: (seeds,) δ, as it should be.
      noise_stds: (seeds,) C at the present parameters.
      previous: (seeds,) learning rates, and the stage with the batch size.
      plan: for the limits.
      num_examples: the most examples of a batch.

    Returns:
      (seeds,) learning rates, and the stage with the batch size.
    """
    rates, stage = previous
    typical = jn.schedules.stage_for(
        stats.gmean(deltas),
        stats.gmean(noise_stds),
        dataclasses.replace(stage, learning_rate=stats.gmean(rates)),
        method="hybrid",
        max_batch_size=num_examples,
        max_learning_rate=plan.max_learning_rate,
    )
    size = max(typical.batch_size, plan.min_batch_size)
    shared = dataclasses.replace(typical, batch_size=size)
    own = [
        jn.schedules.stage_for(
            delta, c, shared, method="decay_lr", max_learning_rate=plan.max_learning_rate
        ).learning_rate
        for delta, c in zip(deltas, noise_stds, strict=True)
    ]
    return np.array(own), shared
