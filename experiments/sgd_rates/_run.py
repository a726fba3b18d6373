"""The experiment from top to bottom."""

from __future__ import annotations

import time
from typing import Any

import jaxnoise as jn

from .._common import (
    begin,
    environment,
    open_curves,
    remembered,
    save_picture,
    text_table,
    write_json,
)
from ._config import Config, Plan, parts_of, plan_of
from ._logistic import logistic
from ._network import network
from ._rare_feature import rare_feature
from ._regression import regression
from ._report import picture, tables_of, verdicts, write_report
from ._resnet import resnet


def run(config: Config) -> None:
    """Runs the parts, reading back those that are finished, and reports on them."""
    started = time.perf_counter()
    plan = plan_of(config)
    parts = computed(config, plan)
    where, seconds = environment(), time.perf_counter() - started
    said, tables = verdicts(parts), tables_of(parts)
    results = {
        "settings": config,
        "plan": plan,
        "environment": where,
        "seconds": seconds,
        **parts,
        "tables": {name: [header, *rows] for name, (header, rows) in tables.items()},
        "verdicts": said,
    }
    write_json(config.out / "results.json", results)
    save_picture(config.out / "sgd_rates.png", picture(parts))
    report = write_report(config, plan, parts, said, where, seconds)
    report.save(config.out / "report.html")
    for name, table in tables.items():
        print(name)
        print(text_table(*table) + "\n")
    print(*said, sep="\n")
    print(f"\n{config.out / 'report.html'} written after {seconds:.0f} s")


def computed(config: Config, plan: Plan) -> dict[str, Any]:
    """The parts that are asked for, by name."""
    wanted, parts = parts_of(config), {}
    folder = config.out / "parts"
    needs_data = set(wanted) - {"regression"}
    dataset: Any = jn.data.load(plan.data, data_dir=config.data_dir) if needs_data else None
    begin(folder, plan, config.resume)
    if "regression" in wanted:
        parts["regression"] = remembered(folder / "regression.json", lambda: regression(plan))
        parts["rare_feature"] = remembered(folder / "rare_feature.json", lambda: rare_feature(plan))
    if "logistic" in wanted:
        parts["logistic"] = remembered(folder / "logistic.json", lambda: logistic(dataset, plan))
    if "network" in wanted:
        parts["network"] = remembered(folder / "network.json", lambda: network(dataset, plan))
    if "resnet" in wanted:
        with open_curves(config.out, config.log, resume=config.resume) as curves:
            parts["resnet"] = remembered(
                folder / "resnet.json", lambda: resnet(dataset, plan, folder / "resnet", curves)
            )
    return parts
