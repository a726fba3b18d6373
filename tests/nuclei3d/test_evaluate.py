"""Scores, comparisons and what they say."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.nuclei3d._compare import comparisons, reference_of, title_of, verdict, word
from experiments.nuclei3d._config import Config, plan_of
from experiments.nuclei3d._evaluate import METRICS, overlap, overlaps, scored, scores
from experiments.nuclei3d._files import write_all
from experiments.nuclei3d._report import count_table, difference_table, score_table


def slow_scores(labels, truth):
    """By counting voxels and pairs of objects one by one."""
    found, there = labels.ravel() > 0, truth.ravel() > 0
    tp = sum(a and b for a, b in zip(found, there, strict=True))
    fp = sum(a and not b for a, b in zip(found, there, strict=True))
    fn = sum(b and not a for a, b in zip(found, there, strict=True))
    matched = 0
    for i in range(1, labels.max() + 1):
        for j in range(1, truth.max() + 1):
            one, other = labels == i, truth == j
            matched += (one & other).sum() > (one | other).sum() / 2
    return {
        "accuracy": 1 - (fp + fn) / len(found),
        "type_1": fp / len(found),
        "type_2": fn / len(found),
        "dice": 2 * tp / (2 * tp + fp + fn),
        "f1": 2 * matched / (labels.max() + truth.max()),
    }


def test_scores_against_counting(balls):
    truth = balls((12, 20, 20), [(6, 5, 5), (6, 14, 14), (6, 5, 14)])
    labels = balls((12, 20, 20), [(6, 5, 6), (6, 14, 17)])
    assert scores(labels, truth) == pytest.approx(slow_scores(labels, truth), abs=1e-6)
    assert slow_scores(labels, truth)["f1"] == pytest.approx(2 / 5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_errors_change_places_with_prediction_and_truth(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 4, (2, 3, 4, 5)).astype(np.int32)
    there, back = scores(one, other), scores(other, one)
    assert there["type_1"] == back["type_2"]
    assert there["accuracy"] == pytest.approx(1 - there["type_1"] - there["type_2"])
    for name in ("accuracy", "dice", "f1"):
        assert there[name] == pytest.approx(back[name])


def test_segmentations_are_scored_with_and_without_small_components(balls, tmp_path):
    truths = [balls((12, 20, 20), [(6, 5, 5)]), balls((12, 20, 20), [(6, 14, 14)])]
    probabilities = [255 * (truth > 0).astype(np.uint8) for truth in truths]
    probabilities[0][0, 0, :4] = 255
    write_all(tmp_path / "seed1", "probability", probabilities)
    row = scored(tmp_path, truths, [1], min_size=5)
    assert {metric: row["cleaned"][metric] for metric in METRICS} == {
        "accuracy": [1.0], "type_1": [0.0], "type_2": [0.0], "dice": [1.0], "f1": [1.0],
    }  # fmt: skip
    assert row["raw"]["f1"] == [pytest.approx((2 / 3 + 1) / 2)]
    assert row["raw"]["type_1"] == [pytest.approx(4 / 4800 / 2)]
    with pytest.raises(ValueError, match="run the step segment first"):
        scored(tmp_path, truths, [0], min_size=5)


def test_overlap_falls_as_nuclei_move(balls, tmp_path):
    labels = balls((12, 24, 24), [(6, 8, 8), (6, 16, 16)], radius=4)
    image = (40 + 150 * (labels > 0)).astype(np.uint8)
    shifted = [overlap(np.roll(image, shift, 2), labels) for shift in (0, 2, 4)]
    assert shifted[0] > 0.9 > shifted[1] > shifted[2]
    plan = plan_of(Config("all", variants=("base", "rendered"), seeds=2))
    write_all(tmp_path / "synthetic", "label", [labels.astype(np.uint16)])
    write_all(tmp_path / "synthetic", "image", [image])
    assert overlaps(tmp_path, plan) == {"rendered": [pytest.approx(shifted[0])]}
    for seed, shift in enumerate((2, 4)):
        folder = tmp_path / "generated" / "spcyclegan" / f"seed{seed}"
        write_all(folder, "image", [np.roll(image, shift, 2)])
    assert overlaps(tmp_path, plan)["spcyclegan"] == pytest.approx(shifted[1:])


def rows_of(seeds=3, **gain):
    """What is recorded of methods that gain so much over the first, with a little noise."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.6, 0.7, seeds)

    def row(name):
        if name == "otsu":
            values = [0.3]
        else:
            noise = 0 if name == "base" else 1e-3 * rng.normal(size=seeds)
            values = (base + gain.get(name, 0) + noise).tolist()
        kinds = {"cleaned": values, "raw": [x - 0.01 for x in values]}
        return {kind: dict.fromkeys(METRICS, v) for kind, v in kinds.items()}

    return {name: row(name) for name in ("base", "few", "dice", "otsu")}


def test_differences_are_taken_seed_by_seed():
    rows = rows_of(few=-0.1)
    pairs = comparisons(rows)
    assert set(pairs) == {"few", "dice", "otsu", "raw"}
    base = np.array(rows["base"]["cleaned"]["dice"])
    np.testing.assert_allclose(
        pairs["few"]["dice"]["difference"], np.array(rows["few"]["cleaned"]["dice"]) - base
    )
    np.testing.assert_allclose(pairs["otsu"]["dice"]["difference"], 0.3 - base)
    np.testing.assert_allclose(pairs["raw"]["dice"]["difference"], -0.01)


def test_verdicts_say_no_more_than_the_test():
    said = dict(zip(("few", "dice", "otsu", "raw"), verdict(rows_of(few=-0.1)), strict=True))
    assert said["few"].startswith(f"{title_of('few')}: worse than {title_of('base')} by Dice (-0.")
    assert said["dice"].count("not to be told from") == 2
    assert said["otsu"].startswith("Otsu's threshold: worse than")
    assert said["raw"].startswith("Without removal of small components: ")
    assert "no test" in verdict(rows_of(1, few=-0.1))[0]
    equal = comparisons({"base": rows_of()["base"], "few": rows_of()["base"]})["few"]["dice"]
    assert word(equal) == "equal to"


def test_what_others_are_compared_with():
    assert reference_of(dict.fromkeys(["rendered", "base", "otsu"])) == "base"
    assert reference_of(dict.fromkeys(["rendered", "truth", "otsu"])) == "rendered"
    assert comparisons({}) == {}


def test_tables():
    rows = rows_of()
    header, body = score_table(rows, "raw")
    assert header == ["method", "accuracy", "Type-I", "Type-II", "Dice", "object F1"]
    assert [line[0] for line in body] == [title_of(name) for name in rows]
    assert body[-1][1:] == ["0.29"] * 5
    header, body = difference_table(rows)
    assert len(header) == len(body[0]) == 7
    assert body[-1][0] == "nothing removed"
    header, body = count_table({"base": [[3, 5], [4, 5]], "otsu": [[1, 0]]}, [4, 6])
    assert body == [
        ["ground truth", "4", "6"],
        [title_of("base"), "3.5", "5.0"],
        ["Otsu's threshold", "1.0", "0.0"],
    ]


def test_plan_is_kept_whole():
    plan = plan_of(Config("all"))
    assert dataclasses.replace(plan) == plan
