"""How each benchmark's results read: tables for the README, and claims with targets.

Each module bears the name of the benchmark that it belongs to, holds the names of its contestants
and what is wanted of them, and needs none of the peers. `tables` gives what the README shows,
`claims` the ratios of the summary.
"""

from __future__ import annotations

from types import ModuleType

from . import (
    convolution,
    gradient_noise,
    graduated_descent,
    growth,
    landscape,
    models,
    sharpness,
    sliding_window,
    small_batch,
    start_up,
)

REPORTS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        models,
        convolution,
        small_batch,
        gradient_noise,
        landscape,
        sharpness,
        graduated_descent,
        sliding_window,
        start_up,
        growth,
    )
}
