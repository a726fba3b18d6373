"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import jaxnoise as jn

from .._common import (
    Curves,
    begin,
    finish,
    images_of,
    open_curves,
    remembered,
    replica,
    say,
)
from ._config import Config, Plan, fitting, plan_of
from ._figures import noise_picture, picture
from ._findings import Findings
from ._measure import measured_starts
from ._noise import noise_at
from ._problem import Problem, problem_of
from ._report import tables_of, write_report
from ._train import trained


def run(config: Config) -> None:
    """Trains and measures what is not finished, compares it and reports on it."""
    started = time.perf_counter()
    plan = plan_of(config)
    dataset = jn.data.load(plan.data, data_dir=config.data_dir)
    train, test = images_of(dataset, plan.examples, plan.test_examples)
    plan = fitting(plan, len(train["label"]))
    problem = problem_of(dataset.info.description, train, test, plan)
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    with open_curves(config.out, config.log, resume=config.resume) as curves:
        starts, noise, results = measurements(problem, plan, folder, curves)

    facts = {
        "description": problem.description,
        "num_train": len(train["label"]),
        "num_test": len(test["label"]),
        "num_probe": len(problem.probe["label"]),
    }
    findings = Findings.of(config, plan, facts, starts, noise, results)
    contents = {
        "facts": facts,
        "starts": starts,
        "batch_sizes": results,
        "noise": noise,
        "critical": findings.critical,
        "columns": findings.columns,
        "comparisons": findings.comparisons,
    }
    pictures = {
        "smoothing_sharpness": picture(findings.columns),
        "noise": noise_picture(findings.noise),
    }
    report = functools.partial(write_report, findings)
    tables, said = tables_of(findings), findings.said
    finish(config, plan, started, contents, tables, said, pictures, report)


def measurements(
    problem: Problem, plan: Plan, folder: Path, curves: Curves
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[int, dict[str, Any]]]:
    """The starts of the seeds; the noise at points of one run, by name; batch size → runs."""
    say("the starts")
    measure = functools.partial(measured_starts, problem, plan)
    starts = remembered(folder / "starts.json", measure)
    point = replica((problem.starts.params, problem.starts.model_state), 0)
    look = functools.partial(noise_at, problem, plan, *point)
    noise = {"start": remembered(folder / "noise.json", look)}
    results = {}
    for size in plan.batch_sizes:
        stem = folder / f"batch_{size:05d}"
        train = functools.partial(trained, problem, plan, size, starts, stem, curves)
        results[size] = remembered(stem.with_name(f"{stem.name}.json"), train)
        found = results[size].pop("noise")
        noise |= {f"epoch {epoch}": point for epoch, point in found.items()}
    return starts, noise, results
