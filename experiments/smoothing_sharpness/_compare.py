"""What the paper expects of the runs, and what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ._correlate import Correlation, Estimate, correlate, hump
from ._critical import Columns

NAMES = {
    "batch_size": "b",
    "progress": "η times the number of steps",
    "learning_rate": "η",
    "delta_start": "δ, C at the start",
    "delta_end": "δ, C at the end",
    "delta_paper": "δ, C from b*, paper's form",
    "delta_consistent": "δ, C from b*, consistent form",
    "sharpness": "worst-case sharpness",
    "adaptive_sharpness": "adaptive sharpness",
    "test_accuracy": "test accuracy",
    "train_accuracy": "training accuracy",
    "noise_std": "C at the end",
    "train_loss": "training loss",
}
DEGREES = ("delta_start", "delta_end", "delta_paper", "delta_consistent")
SHARPNESS = ("sharpness", "adaptive_sharpness")


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is expected of one quantity against another.

    Attributes:
      quantity, against: names of columns.
      sign: that the one grows (+1), falls (−1) or does neither (0) with the other; None where
        nothing is claimed.
      within: what is held fixed in a second look, at the pairs of runs that are equal in it.
      given: what is taken out in a third.
    """

    quantity: str
    against: str
    sign: int | None
    within: str | None = None
    given: str | None = None


CLAIMS = [
    *(
        claim
        for sharpness in SHARPNESS
        for claim in (
            Claim(sharpness, "batch_size", +1, "learning_rate", "train_loss"),
            Claim(sharpness, "learning_rate", -1, "batch_size", "train_loss"),
            *(Claim(sharpness, degree, -1, given="train_loss") for degree in DEGREES),
            Claim(sharpness, "progress", None, given="train_loss"),
            Claim(sharpness, "train_loss", None),
        )
    ),
    *(Claim("test_accuracy", sharpness, 0, given="train_loss") for sharpness in SHARPNESS),
    Claim("test_accuracy", "progress", None, given="train_loss"),
    Claim("test_accuracy", "train_loss", None),
]
# Test accuracy over these: whether one hump is expected.
HUMPS = {**dict.fromkeys(DEGREES, True), **dict.fromkeys(SHARPNESS, False)}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A group of runs against the claims.

    Attributes:
      title: which runs.
      num: how many.
      correlations: one for each of `CLAIMS`.
      humps: what test accuracy is taken over → what `hump` gives.
    """

    title: str
    num: int
    correlations: list[Correlation]
    humps: dict[str, dict[str, Any]]


def compare(columns: Columns, reached: float) -> list[Comparison]:
    """All runs that have not diverged, and those that have learnt their training set."""
    learnt = f"with a training accuracy of at least {reached:g}"
    return [
        comparison("that did not diverge", columns, ~columns["diverged"]),
        comparison(learnt, columns, columns["learnt"]),
    ]


def comparison(title: str, columns: Columns, chosen: np.ndarray) -> Comparison:
    own = {name: column[chosen] for name, column in columns.items()}
    return Comparison(
        title=title,
        num=int(chosen.sum()),
        correlations=[
            correlate(
                own[c.against],
                own[c.quantity],
                own[c.within] if c.within else None,
                own[c.given] if c.given else None,
            )
            for c in CLAIMS
        ],
        humps={against: hump(own[against], own["test_accuracy"]) for against in HUMPS},
    )


def judged(sign: int | None, found: Estimate) -> str:
    """What the interval of a correlation says of its expected sign."""
    if sign is None:
        return "–"
    if np.isnan(found.low):
        return "no answer"
    side = int(found.low > 0) - int(found.high < 0)
    if sign == 0:
        return "as expected" if side == 0 else "against expectation"
    if side == 0:
        return "not to be told from zero"
    return "as expected" if side == sign else "against expectation"


def verdicts(columns: Columns, comparisons: list[Comparison]) -> list[str]:
    """Sentences on the claims, for each group of runs."""
    total, gone = len(columns["diverged"]), int(columns["diverged"].sum())
    left = total - gone - int(columns["learnt"].sum())
    said = [
        f"{gone} of {total} runs diverged (a training loss above that of the start, or no number)"
        + (f", the one of smallest δ at {_smallest(columns)}" if gone else "")
        + f"; {left} more have not learnt their training set."
    ]
    for group in comparisons:
        where = f"Runs {group.title} ({group.num})"
        found = zip(CLAIMS, group.correlations, strict=True)
        pairs = [(claim, of) for claim, of in found if np.isfinite(of.kendall.value)]
        for quantity in dict.fromkeys(claim.quantity for claim, _ in pairs):
            mine = [pair for pair in pairs if pair[0].quantity == quantity]
            said.append(f"{where}: {_sentence(quantity, mine)}")
        said += [f"{where}: {text}" for text in _hump_sentences(group.humps)]
    return said


def _smallest(columns: Columns) -> str:
    """The least noisy of the runs that diverged."""
    degree = np.where(columns["diverged"], columns["delta_start"], np.inf)
    place = int(np.argmin(degree))
    return f"η = {columns['learning_rate'][place]:g}, b = {columns['batch_size'][place]:.0f}"


def _sentence(quantity: str, pairs: list[tuple[Claim, Correlation]]) -> str:
    """All that is claimed of one quantity, and what it goes with besides."""

    def listed(look: Callable[[Correlation], Estimate]) -> str:
        return ", ".join(
            f"{NAMES[claim.against]} {look(found).value:+.2f} ({judged(claim.sign, look(found))})"
            for claim, found in pairs
            if claim.sign is not None and np.isfinite(look(found).value)
        )

    besides = ", ".join(
        f"{NAMES[claim.against]} {found.kendall.value:+.2f}"
        for claim, found in pairs
        if claim.sign is None
    )
    parts = {
        f"Kendall's τ of {NAMES[quantity]} with": listed(lambda found: found.kendall),
        "given the training loss, with": listed(lambda found: found.partial),
        "where nothing is claimed, with": besides,
    }
    return "; ".join(f"{start} {text}" for start, text in parts.items() if text) + "."


def _hump_sentences(humps: dict[str, dict[str, Any]]) -> list[str]:
    said = []
    for is_hump, words in ((True, "has one hump over"), (False, "has no single hump over")):
        found = [
            f"{NAMES[against]} ("
            + (f"best around {of['bins'][of['best']][0]:.2g}, " if is_hump else "")
            + ("as expected)" if is_hump == HUMPS[against] else "against expectation)")
            for against, of in humps.items()
            if of and of["is_hump"] == is_hump
        ]
        if found:
            said.append(f"test accuracy {words} {', '.join(found)}.")
    return said
