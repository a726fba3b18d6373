"""What a step of data-parallel training needs on every chip."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ._config import Cluster
from ._count import Counts, count

_FLOAT = 4  # bytes of a parameter and of its gradient


@dataclasses.dataclass(frozen=True)
class Step:
    """A step with b images on each chip.

    Attributes:
      batch: images on all chips.
      memory: bytes of a chip: parameters, gradients, optimizer's state, activations, and the
        training set where a chip has room for it.
      compute: seconds of the multiply-adds.
      traffic: least seconds for memory: all but the training set written once and read once.
      all_reduce: seconds to add up the gradients of all chips.
      seconds: of the step, its all-reduce hidden behind the backward pass as far as it goes.
      epoch: seconds of an epoch.
      fits: whether memory suffices.
      hidden: whether the all-reduce takes no longer than the backward pass.
    """

    images_per_chip: int
    batch: int
    memory: float
    compute: float
    traffic: float
    all_reduce: float
    seconds: float
    epoch: float
    fits: bool
    hidden: bool


def all_reduce_bytes(parameters: int, chips: int) -> float:
    """2(k − 1)/k · 4P: what each of k chips sends in a ring for P gradients in float32."""
    return 2 * (chips - 1) / chips * _FLOAT * parameters


def all_reduce_seconds(counts: Counts, cluster: Cluster) -> float:
    sent = all_reduce_bytes(counts.parameters, cluster.chips)
    return sent / (cluster.link_bits / 8 * cluster.link_share)


def data_bytes(cluster: Cluster, size: int) -> int:
    """The whole training set in uint8."""
    return cluster.images * 3 * size**2


def state_bytes(counts: Counts) -> int:
    """Parameters, gradients, the optimizer's state and running statistics, copied on each chip."""
    return _FLOAT * (2 * counts.parameters + counts.statistics) + counts.optimizer_bytes


def resident_bytes(counts: Counts, cluster: Cluster, size: int) -> int:
    """The training set, of which `fit` puts a copy on each chip; 0 where it must be a stream."""
    whole = data_bytes(cluster, size)
    return whole if state_bytes(counts) + whole < cluster.hbm_bytes else 0


def step(counts: Counts, cluster: Cluster, size: int, images_per_chip: int) -> Step:
    """The step with so many images on each chip."""
    held = state_bytes(counts) + images_per_chip * counts.activation_bytes
    memory = held + resident_bytes(counts, cluster, size)
    compute = images_per_chip * _seconds(counts.step, cluster)
    traffic = 2 * held / cluster.hbm_bandwidth
    backward = images_per_chip * _seconds(counts.step - counts.forward, cluster)
    all_reduce = all_reduce_seconds(counts, cluster)
    seconds = max(compute, traffic) + max(0.0, all_reduce - backward)
    batch = images_per_chip * cluster.chips
    return Step(
        images_per_chip=images_per_chip,
        batch=batch,
        memory=memory,
        compute=compute,
        traffic=traffic,
        all_reduce=all_reduce,
        seconds=seconds,
        epoch=math.ceil(cluster.images / batch) * seconds,
        fits=memory <= cluster.hbm_bytes,
        hidden=all_reduce <= backward,
    )


def images_that_hide(counts: Counts, cluster: Cluster) -> int:
    """The fewest images per chip whose backward pass takes as long as the all-reduce."""
    each = _seconds(counts.step - counts.forward, cluster)
    return max(1, math.ceil(all_reduce_seconds(counts, cluster) / each))


def images_that_fit(counts: Counts, cluster: Cluster, size: int) -> int:
    """The most images per chip that memory has room for."""
    left = cluster.hbm_bytes - state_bytes(counts) - resident_bytes(counts, cluster, size)
    return max(0, math.floor(left / counts.activation_bytes))


def estimated(cluster: Cluster) -> list[dict[str, Any]]:
    """Counts, steps and limits for each size of image."""
    found = []
    for size in cluster.sizes:
        counts = count(size, cluster.classes, cluster.dtype)
        found.append(
            {
                "size": size,
                "counts": counts,
                "all_reduce_bytes": all_reduce_bytes(counts.parameters, cluster.chips),
                "state_bytes": state_bytes(counts),
                "data_bytes": data_bytes(cluster, size),
                "resident_bytes": resident_bytes(counts, cluster, size),
                "images_that_hide": images_that_hide(counts, cluster),
                "images_that_fit": images_that_fit(counts, cluster, size),
                "steps": [step(counts, cluster, size, num) for num in cluster.images_per_chip],
            }
        )
    return found


def _seconds(multiply_adds: float, cluster: Cluster) -> float:
    """Of so many multiply-adds, two operations each, on one chip."""
    return 2 * multiply_adds / (cluster.peak_flops * cluster.achieved)
