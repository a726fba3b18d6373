"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._common import (
    Curves,
    finish,
    open_curves,
    say,
    what_seeds_can_tell,
)
from ._baselines import BASELINES
from ._compare import comparisons, verdict
from ._config import Config, Plan, plan_of
from ._evaluate import overlaps, scored
from ._figures import domains, segmentations, shown_methods
from ._files import read_all
from ._report import tables_of, write_report
from ._steps import generate_volumes, runs_of, segment, synthesize, train_gans, train_unets


def run(config: Config) -> None:
    """Does one step, or all of them."""
    started = time.perf_counter()
    plan = plan_of(config)
    names = [*STEPS, "evaluate"] if config.step == "all" else [config.step]
    adds_to = config.resume or names[0] != "synthesize"
    with open_curves(config.out, config.log, resume=adds_to) as curves:
        for name in names:
            if name == "evaluate":
                evaluate(config, plan, started)
            else:
                STEPS[name](config, plan, curves)


def evaluate(config: Config, plan: Plan, started: float) -> None:
    """Writes results.json, report.html and pictures, and prints the tables."""
    say("evaluate")
    results = results_of(config.out, plan)
    said = [what_seeds_can_tell(plan.seeds), *verdict(results["rows"])]
    if not results["rows"]:
        said = ["There is no ground truth to score the segmentations by."]
    tables = tables_of(results, plan.min_size)
    shown = shown_methods(list(results["counts"]))
    pictures = {
        "nuclei3d": segmentations(config.out, shown, 0),
        "domains": domains(config.out, plan),
    }
    report = functools.partial(write_report, config, plan, results, said)
    finish(config, plan, started, results, tables, said, pictures, report)


def results_of(out: Path, plan: Plan) -> dict[str, Any]:
    """All numbers: training, nuclei counted, and scores where there is ground truth."""
    truths = read_all(out / "microscope" / "test", "label")
    seeds: dict[str, list[int]] = {}
    for name, seed in runs_of(out, plan):
        seeds.setdefault(name, []).append(seed)
    training = {
        name: [_recorded(out / "unet" / name / f"seed{seed}.json", "train-unet") for seed in own]
        for name, own in seeds.items()
    }
    seeds |= {name: [0] for name in BASELINES}
    rows, counts = {}, {}
    for name, own in seeds.items():
        folder = out / "segmented" / name
        counts[name] = [
            _recorded(folder / f"seed{seed}" / "done.json", "segment")["nuclei"] for seed in own
        ]
        if truths:
            rows[name] = scored(folder, truths, own, plan.min_size)
    return {
        "description": _recorded(out / "microscope" / "done.json", "synthesize")["description"],
        "training": training,
        "rows": rows,
        "counts": counts,
        "true_counts": [len(np.unique(truth)) - 1 for truth in truths],
        "overlaps": overlaps(out, plan),
        "comparisons": comparisons(rows),
    }


def _recorded(path: Path, step: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"there is no {path}: run the step {step} first")
    return json.loads(path.read_text(encoding="utf-8"))


STEPS: dict[str, Callable[[Config, Plan, Curves], None]] = {
    "synthesize": synthesize,
    "train-gan": train_gans,
    "generate": generate_volumes,
    "train-unet": train_unets,
    "segment": segment,
}
