import jax.numpy as jnp
import matplotlib.pyplot as plt
import pytest

from jaxnoise.gradients import vanishing
from jaxnoise.plotting import vanishing_table

NORMS = jnp.array([0.0, 0.5, 2.0, 4.0])


def texts(ax):
    """The table's cells, row by row."""
    (table,) = ax.tables
    cells = {place: cell.get_text().get_text() for place, cell in table.get_celld().items()}
    rows, columns = (1 + max(place[i] for place in cells) for i in (0, 1))
    return [[cells[i, j] for j in range(columns)] for i in range(rows)]


def test_a_row_for_each_result_and_a_column_for_each_threshold():
    rows = {"SGD": vanishing(NORMS, [0.1, 1.0, 9.0]), "Adam": vanishing(NORMS[2:], [0.1, 1.0, 9.0])}
    ax = vanishing_table(rows)
    assert texts(ax) == [
        ["", "τ = 0.1", "τ = 1", "τ = 9"],
        ["SGD", "25.00 %\n2.17", "50.00 %\n3", "100.00 %\n0"],
        ["Adam", "0.00 %\n3", "0.00 %\n3", "100.00 %\n0"],
    ]
    assert "p_" in ax.get_title()
    assert "M_" in ax.get_title()


def test_one_result_over_one_threshold():
    assert texts(vanishing_table(vanishing(NORMS, 1.0))) == [["", "τ = 1"], ["", "50.00 %\n3"]]


def test_given_axes():
    _, ax = plt.subplots()
    assert vanishing_table(vanishing(NORMS, 1.0), ax) is ax


def test_the_table_fits_into_the_picture():
    result = vanishing(NORMS, [1e-8, 1e-6, 1e-4, 1e-2, 1.0])
    ax = vanishing_table({"TRSGD": result, "SGD, batch 128": result})
    ax.figure.canvas.draw()
    box = ax.tables[0].get_window_extent()
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    assert box.x0 > 0
    assert box.x1 < width
    assert box.y0 > 0
    assert box.y1 < height


def test_rows_over_different_thresholds():
    rows = {"a": vanishing(NORMS, [0.1]), "b": vanishing(NORMS, [0.2])}
    with pytest.raises(ValueError, match="same thresholds tau"):
        vanishing_table(rows)
