"""The experiment from top to bottom."""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any

import jaxnoise as jn

from .._common import begin, environment, remembered, save_picture, say, text_table, write_json
from ._config import Config, plan_of
from ._logistic import logistic
from ._networks import network
from ._report import logistic_table, network_table, picture, verdicts, write_report
from ._toy import toy


def run(config: Config) -> None:
    """Runs the parts, reading back those that are finished, and reports on them."""
    started = time.perf_counter()
    plan = plan_of(config)
    names = dict.fromkeys([*plan.logistic, *(task.data for task in plan.networks)])
    datasets = {name: jn.data.load(name, data_dir=config.data_dir) for name in names}
    folder = config.out / "parts"
    begin(folder, plan, config.resume)
    parts: dict[str, Any] = {}
    if "toy" in config.only:
        say("SGD in the plane")
        parts["toy"] = remembered(folder / "toy.json", toy)
    if "logistic" in config.only:
        parts["logistic"] = {
            name: finished(folder / f"logistic_{name}", logistic, datasets[name], plan)
            for name in plan.logistic
        }
    if "networks" in config.only:
        parts["networks"] = {
            f"{task.network}, {task.data}": finished(
                folder / f"{task.network}_{task.data}", network, datasets[task.data], plan, task
            )
            for task in plan.networks
            if has_images(datasets[task.data])
        }

    where, seconds = environment(), time.perf_counter() - started
    tables = {
        "logistic": logistic_table(parts.get("logistic", {})),
        "networks": network_table(parts.get("networks", {})),
    }
    claim = verdicts(parts)
    results = {
        "settings": config,
        "plan": plan,
        "environment": where,
        "seconds": seconds,
        **parts,
        "claim": claim,
        "tables": {name: [header, *rows] for name, (header, rows) in tables.items()},
    }
    write_json(config.out / "results.json", results)
    save_picture(config.out / "vanishing_gradients.png", picture(parts))
    write_report(config, plan, parts, where, seconds).save(config.out / "report.html")
    for header, rows in tables.values():
        if rows:
            print(text_table(header, rows) + "\n")
    print(*claim["sentences"], sep="\n")
    print(f"\n{config.out / 'report.html'} written after {seconds:.0f} s")


def finished(stem: Path, compute: Any, *args: Any) -> Any:
    """The results of one task from `stem`.json, computed with `stem` as its folder if need be."""
    path = stem.with_name(f"{stem.name}.json")
    result = remembered(path, functools.partial(compute, *args, stem))
    shutil.rmtree(stem, ignore_errors=True)
    return result


def has_images(dataset: jn.data.Dataset) -> bool:
    found = "image" in dataset.train
    if not found:
        say(f"{dataset.info.name} holds no images: no network is trained on it")
    return found
