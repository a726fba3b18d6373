import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxnoise.plotting import training_curves
from jaxnoise.training import History

STEPS = np.array([10, 20, 30])


def history(train, test=None):
    return History(STEPS, 8 * STEPS, np.full(3, 0.1), np.full(3, 8), STEPS / 10, train, test)


LOSS = {"loss": np.array([3.0, 2.0, 1.0]), "accuracy": np.array([0.1, 0.5, 0.9])}
TEST = {"loss": np.array([3.5, 2.5, 2.0])}


def test_training_dashed_and_test_solid():
    ax = training_curves(history(LOSS, TEST))
    train, test = ax.lines
    np.testing.assert_array_equal(train.get_xydata(), [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(test.get_ydata(), TEST["loss"])
    assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "test"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epochs", "loss")


@pytest.mark.parametrize("test", [None, {}])
def test_without_test_data(test):
    assert len(training_curves(history(LOSS, test)).lines) == 1


def test_metric_that_only_one_part_has():
    ax = training_curves(history(LOSS, TEST), metric="accuracy")
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), LOSS["accuracy"])
    assert ax.get_ylabel() == "accuracy"


@pytest.mark.parametrize(
    ("against", "x", "label"),
    [
        ("epochs", [1, 2, 3], "epochs"),
        ("steps", STEPS, "steps"),
        ("gradient_queries", 8 * STEPS, "gradient queries"),
    ],
)
def test_horizontal_axis(against, x, label):
    ax = training_curves(history(LOSS), against=against)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), x)
    assert ax.get_xlabel() == label


def test_a_colour_for_each_run():
    ax = training_curves({"SGD": history(LOSS, TEST), "TRSGD": history(LOSS, TEST)})
    assert [line.get_color() for line in ax.lines] == ["C0", "C0", "C1", "C1"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["SGD train", "SGD test", "TRSGD train", "TRSGD test"]


def test_replicas_are_a_mean_within_a_band():
    curves = np.array([[4.0, 2.0, 1.0], [2.0, 2.0, 0.0]])
    ax = training_curves(history({"loss": curves}))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3.0, 2.0, 0.5])
    (band,) = ax.collections
    low, high = band.get_datalim(ax.transData).intervaly
    assert (low, high) == (0.0, 4.0)


def test_single_runs_have_no_band():
    assert not training_curves(history(LOSS, TEST)).collections


def test_given_axes():
    _, ax = plt.subplots()
    assert training_curves(history(LOSS), ax) is ax


def test_values_that_are_not_finite_leave_a_gap():
    ax = training_curves(history({"loss": np.array([1.0, np.nan, np.inf])}))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1.0, np.nan, np.nan])
    ax.figure.canvas.draw()


def test_a_diverged_replica_leaves_a_gap_in_the_mean():
    curves = np.array([[4.0, np.inf, np.inf], [2.0, 2.0, -np.inf]])
    ax = training_curves(history({"loss": curves}))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3.0, np.nan, np.nan])
    ax.figure.canvas.draw()


def test_unknown_metric():
    with pytest.raises(ValueError, match="metric must be one of loss, accuracy, got 'error'"):
        training_curves(history(LOSS, TEST), metric="error")


def test_unknown_horizontal_axis():
    with pytest.raises(ValueError, match=r"against must be one of .*got 'seconds'"):
        training_curves(history(LOSS), against="seconds")
