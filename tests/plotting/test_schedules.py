import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

from jaxnoise.plotting import decay_rates, schedule

HALVED = optax.exponential_decay(1.0, 1, 0.5)
LINEAR = optax.linear_schedule(1.0, 0.0, 2)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_values_of_a_schedule():
    (line,) = schedule(HALVED, 3, color="k").lines
    np.testing.assert_array_equal(line.get_xydata(), [[0, 1], [1, 0.5], [2, 0.25], [3, 0.125]])
    assert line.get_color() == "k"
    assert line.axes.get_legend() is None
    assert line.axes.get_xlabel() == "step t"


def test_schedules_by_title():
    _, ax = plt.subplots()
    assert schedule({"halved": HALVED, 2: LINEAR}, 3, ax=ax) is ax
    assert labels(ax) == ["halved", "2"]


def test_rates_with_a_gap_where_there_are_none():
    (line,) = decay_rates(LINEAR, 4).lines
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 0, np.nan, np.nan])
    assert not line.axes.collections


@pytest.mark.parametrize("admissible", [0.75, [0.75, 0.8, np.nan]])
def test_admissible_region(admissible):
    ax = decay_rates({"halved": HALVED}, 3, admissible=admissible)
    (region,) = ax.collections
    (low, high) = region.get_datalim(ax.transData).intervaly
    assert (low, high) == (0.75, 1)
    assert labels(ax) == ["admissible", "halved"]
    ax.figure.canvas.draw()


@pytest.mark.parametrize("draw", [schedule, decay_rates])
def test_no_steps(draw):
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        draw(HALVED, 0)
