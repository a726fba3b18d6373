"""What the numbers say of the two claims."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._common import LEVEL, paired, significance
from ._equal_loss import LEARNT

# Which network is claimed to be sharper than which.
CLAIMED = (
    ("FCN-16s", "FCN-8s"),
    ("FCN-8s", "FCN-4s"),
    ("FCN-16s", "U-Net"),
    ("FCN-16s", "residual skips"),
)


def measures_of(rows: dict[str, dict[str, list[float]]]) -> list[str]:
    """The measures of flatness among what was measured, in order."""
    return [name for name in next(iter(rows.values())) if name.startswith(("C_", "Keskar", "rise"))]


def verdicts(data: str, cell: dict[str, Any]) -> list[str]:
    """Sentences on both claims, one for each measure."""
    if "networks" not in cell:
        return []
    rows = cell["networks"]["rows"]
    said = [*_seeds(f"{data}, networks", cell["networks"])]
    for name, study in cell["batch_sizes"].items():
        said += _seeds(f"{data}, batch sizes of {name}", study)
    claimed = [pair for pair in CLAIMED if set(pair) <= set(rows)]
    said += [_sentence(f"{data}, skips flatten", m, claimed, rows) for m in measures_of(rows)]
    pairs = {name: study["rows"] for name, study in cell["batch_sizes"].items()}
    if pairs:
        joined = {title: row for of_name in pairs.values() for title, row in of_name.items()}
        # A pair is in the order small batch, large batch; the latter is claimed to be sharper.
        sizes = [tuple(reversed(list(of_name))) for of_name in pairs.values()]
        said += [
            _sentence(f"{data}, small batches end flatter", m, sizes, joined)
            for m in measures_of(joined)
        ]
    return said


def _seeds(what: str, study: dict[str, Any]) -> list[str]:
    """Which seeds are left out, and why."""
    left_out = [str(seed) for seed in range(len(study["targets"])) if seed not in study["seeds"]]
    constant = study["constant_loss"]
    if left_out:
        return [
            f"{what}: seeds without {', '.join(left_out)}, where a training did not get below the "
            f"loss of a constant output, {constant:.4g}."
        ]
    if max(study["targets"]) > LEARNT * constant:
        return [
            f"{what}: in no seed have all learnt more than a constant output, whose loss is "
            f"{constant:.4g}: this comparison says little."
        ]
    return []


def _sentence(claim: str, measure: str, pairs: list, rows: dict[str, Any]) -> str:
    """How many of the claimed differences there are, by one measure."""
    words, held = [], 0
    for sharper, flatter in pairs:
        ours, theirs = (np.array(rows[name][measure], float) for name in (sharper, flatter))
        pair = paired(ours, theirs)
        ratio = ours.mean() / theirs.mean()
        sure = pair["p_value"] < LEVEL
        held += bool(pair["mean"] > 0)
        sign = "sharper" if pair["mean"] > 0 else "flatter"
        words.append(
            f"{sharper} is {ratio:.3g} times {flatter} ({sign}{'' if sure else ', unclear'}; "
            f"{significance(pair)})"
        )
    return f"{claim}, by {measure}: {held} of {len(pairs)} as claimed. " + "; ".join(words) + "."
