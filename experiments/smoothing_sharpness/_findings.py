"""All that the runs have shown, put together."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from ._compare import Comparison, compare, verdicts
from ._config import Config, Plan
from ._critical import Columns, add_degrees, columns_of, critical_batches, critical_verdict
from ._noise import noise_verdicts


@dataclasses.dataclass(frozen=True)
class Findings:
    """What tables, figures and sentences are made of.

    Attributes:
      config, plan: the settings.
      facts: about the data.
      starts: what was measured where each seed starts.
      noise: name of a point → the noise there.
      critical: for each learning rate, the critical batch size.
      columns: quantity → (runs,).
      comparisons: groups of runs against the claims.
      said: sentences.
    """

    config: Config
    plan: Plan
    facts: dict[str, Any]
    starts: list[dict[str, Any]]
    noise: dict[str, Any]
    critical: list[dict[str, Any]]
    columns: Columns
    comparisons: list[Comparison]
    said: list[str]

    @classmethod
    def of(
        cls,
        config: Config,
        plan: Plan,
        facts: dict[str, Any],
        starts: list[dict[str, Any]],
        noise: dict[str, Any],
        results: dict[int, dict[str, Any]],
    ) -> Self:
        """Compares what was measured; `results` is batch size → what `trained` gives."""
        columns = columns_of([run for found in results.values() for run in found["runs"]], starts)
        columns["learnt"] = ~columns["diverged"] & (columns["train_accuracy"] >= config.reached)
        critical = critical_batches(results, starts, config.epsilon)
        add_degrees(columns, critical)
        comparisons = compare(columns, config.reached)
        said = verdicts(columns, comparisons)
        said += [critical_verdict(critical, starts), *noise_verdicts(noise)]
        return cls(config, plan, facts, starts, noise, critical, columns, comparisons, said)
