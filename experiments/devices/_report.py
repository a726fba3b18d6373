"""The report: what was measured, what is estimated, and what both say."""

from __future__ import annotations

from typing import Any

from .._common import Report, Table
from ._compare import disagreements
from ._config import Cluster, Config, Piece, cluster_options

_SIMULATED = (
    "The devices are simulated by one CPU with {cores} physical cores, which they share, and of "
    "which one device alone uses several threads: no speed-up beyond that is to be expected here. "
    "What this shows is that the results agree, and what spreading the work costs."
)


def sentences(
    rows: dict[Piece, dict[int, Any]], machine: dict[str, Any], estimate: Any, cluster: Cluster
) -> dict[str, list[str]]:
    """What the numbers say, of "devices" and of the "estimate"."""
    wrong = disagreements(rows)
    counts = list(next(iter(rows.values())))
    agreement = f"On {', '.join(map(str, counts))} devices all results agree within tolerance."
    if len(counts) == 1:
        agreement = "There is one device only, and nothing to compare it with."
    real = f"The host has {machine['physical_cores']} physical cores."
    shared = _SIMULATED.format(cores=machine["physical_cores"])
    return {
        "devices": [
            f"They differ: {'; '.join(wrong)}." if wrong else agreement,
            shared if machine["simulated"] else real,
        ],
        "estimate": [_of_size(found, cluster) for found in estimate],
    }


def _of_size(found: dict[str, Any], cluster: Cluster) -> str:
    size, counts = found["size"], found["counts"]
    where = "fits on each chip beside the network"
    if not found["resident_bytes"]:
        where = "doesn't fit on a chip: it must be a stream"
    return (
        f"WRN-28-10 at {size}²: {counts['parameters'] / 1e6:.1f} M parameters, "
        f"{counts['forward'] / 1e9:.3g} G multiply-adds an image, {counts['step'] / 1e9:.3g} G "
        f"with the gradient. The all-reduce over {cluster.chips} chips sends "
        f"{found['all_reduce_bytes'] / 1e6:.0f} MB a step from each. The backward pass hides it "
        f"from {found['images_that_hide']} per chip on, and memory has room for at most "
        f"{found['images_that_fit']}. The training set of {found['data_bytes'] / 1e9:.3g} GB in "
        f"uint8 ({found['data_bytes'] / cluster.chips / 1e6:.3g} MB for each chip's share) {where}."
    )


def estimate_tables(estimate: Any) -> dict[str, Table]:
    """Memory of a chip, and times of a step, by size of image and images per chip."""
    memory = ["image", "weights, gradients, optimizer, GB", "activations per image, MB"]
    memory += ["training set, GB", "a copy on each chip", "most images per chip"]
    times = ["image", "images per chip", "batch", "memory, GB", "compute, ms", "memory traffic, ms"]
    times += ["all-reduce, ms", "hidden", "step, ms", "epoch, s"]
    sizes, steps = [], []
    for found in estimate:
        side = f"{found['size']}²"
        sizes.append(
            [
                side,
                f"{found['state_bytes'] / 1e9:.3g}",
                f"{found['counts']['activation_bytes'] / 1e6:.3g}",
                f"{found['data_bytes'] / 1e9:.3g}",
                "yes" if found["resident_bytes"] else "no, a stream",
                str(found["images_that_fit"]),
            ]
        )
        steps += [[side, *_row(step)] for step in found["steps"]]
    return {"a chip's memory": (memory, sizes), "a step": (times, steps)}


def _row(step: dict[str, Any]) -> list[str]:
    times = [f"{1e3 * step[name]:.3g}" for name in ("compute", "traffic", "all_reduce")]
    whole = [f"{1e3 * step['seconds']:.3g}", f"{step['epoch']:.3g}"]
    return [
        str(step["images_per_chip"]),
        str(step["batch"]),
        f"{step['memory'] / 1e9:.3g}" + ("" if step["fits"] else ", too much"),
        *times,
        "yes" if step["hidden"] else "no",
        *(whole if step["fits"] else ["–", "–"]),
    ]


def report_of(
    config: Config,
    tables: dict[str, Table],
    said: dict[str, list[str]],
    where: dict[str, Any],
    seconds: float,
) -> Report:
    report, cluster = Report("Many devices"), config.cluster
    report.heading("The same work on more devices")
    for sentence in said["devices"]:
        report.text(sentence)
    report.table(*tables["devices"])
    report.text(
        "Seconds are the median of the rounds, everything compiled before. The largest difference "
        "is that of any number found from what one device finds, over the largest such number."
    )
    report.heading("An estimate: WRN-28-10, data-parallel")
    for sentence in said["estimate"]:
        report.text(sentence)
    for title in ("a chip's memory", "a step"):
        report.table(*tables[title])
    report.text(
        "From shapes alone, nothing of it measured. Activations are all that the backward pass is "
        "handed: an upper bound for what XLA keeps, to which its working memory comes. Compute is "
        f"at {100 * cluster.achieved:.0f} % of the peak, which is a guess; traffic is the least "
        "that memory needs. A step takes the longer of the two, and what of the all-reduce the "
        f"backward pass doesn't hide, at {100 * cluster.link_share:.0f} % of all links. Not "
        "counted: latency, the small all-reduces of batch normalisation over the whole batch (two "
        "for each of its layers), reading data, evaluation."
    )
    report.heading("Where and how")
    settings = vars(config) | {"cluster": None} | cluster_options(cluster)
    report.provenance("devices", settings, where, seconds)
    return report
