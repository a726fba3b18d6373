import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxnoise.gradients import vanishing
from jaxnoise.plotting import growth_curve, noise_histogram, noise_quantiles, vanishing_table

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


# The distribution of noise

PROJECTIONS = np.random.default_rng(0).normal(3.0, 0.2, size=(500, 4))


@pytest.mark.parametrize("draw", [noise_histogram, noise_quantiles])
@pytest.mark.parametrize("projections", [PROJECTIONS, PROJECTIONS[:, 0], jnp.array(PROJECTIONS)])
def test_projections_into_given_axes(draw, projections):
    _, ax = plt.subplots()
    assert draw(projections, ax) is ax
    ax.figure.canvas.draw()


@pytest.mark.parametrize("draw", [noise_histogram, noise_quantiles])
def test_constant_projections(draw):
    with pytest.raises(ValueError, match="constant in column 0"):
        draw(np.ones((9, 2)))


def test_histogram_is_a_density_of_standardised_values():
    ax = noise_histogram(PROJECTIONS * [1, -2, 3, 4] + [0, 5, 0, 0], bins=np.linspace(-5, 5, 21))
    bars = np.array([[bar.get_x() + bar.get_width() / 2, bar.get_height()] for bar in ax.patches])
    np.testing.assert_allclose(0.5 * bars[:, 1].sum(), 1)
    np.testing.assert_allclose(0.5 * bars.prod(axis=1).sum(), 0, atol=0.05)
    x, density = ax.lines[0].get_data()
    np.testing.assert_allclose(np.interp([-1, 0], x, density), [0.242, 0.399], atol=1e-3)
    assert ax.get_ylim()[1] < 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["projections", "normal"]


def test_normal_quantiles_lie_along_the_diagonal():
    ax = noise_quantiles(np.random.default_rng(0).normal(size=(50_000, 3)), linewidth=2)
    *curves, diagonal = ax.lines
    assert (len(curves), diagonal.get_slope()) == (3, 1)
    for curve in curves:
        x, y = curve.get_data()
        middle = np.abs(x) < 3
        np.testing.assert_allclose(y[middle], x[middle], atol=0.15)
        assert (x.min(), x.max()) == (pytest.approx(-4.26, abs=0.01), pytest.approx(4.26, abs=0.01))
        assert len(x) <= 400
        assert curve.get_linewidth() == 2


def test_few_projections_are_all_drawn():
    curve, _ = noise_quantiles(PROJECTIONS[:20, 0]).lines
    np.testing.assert_allclose(curve.get_xdata(), -curve.get_xdata()[::-1])
    assert len(curve.get_xdata()) == 20


# Growth


def test_growth_curves_and_their_maxima():
    _, ax = plt.subplots()
    curves = {"MNIST": [2.0, 3.5, 3.0], "SVHN": jnp.array([np.nan, np.inf, 8.12])}
    assert growth_curve(curves, ax, marker=".") is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["MNIST: N = 3.5", "SVHN: N = inf"]
    np.testing.assert_array_equal(ax.lines[0].get_data(), [[0, 1, 2], [2.0, 3.5, 3.0]])
    ax.figure.canvas.draw()


def test_one_growth_curve():
    ax = growth_curve(np.array([np.nan, 1.25]))
    assert ax.get_legend().get_texts()[0].get_text() == "N = 1.25"
