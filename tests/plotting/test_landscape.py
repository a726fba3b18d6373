import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from mpl_toolkits.mplot3d.axes3d import Axes3D

from jaxnoise.landscape import LossGrid, LossLine, TrajectoryPlane
from jaxnoise.plotting import contour, line, surface, trajectory

X = np.linspace(-1, 1, 7)
Y = np.linspace(-2, 2, 7)
BOWL = 1 + 3 * X[:, None] ** 2 + Y**2 / 4  # from 1 to 5; steeper along the first direction


def grid_of(values):
    return LossGrid(X, Y, values, 1.0)


@pytest.fixture
def drawn(monkeypatch):
    """The (α, β, f) of all vertices of the surfaces that are drawn."""
    vertices = []

    def recorded(ax, *coordinates, original=Axes3D.plot_surface, **options):
        assert (options["rstride"], options["cstride"]) == (1, 1)
        vertices.extend(zip(*map(np.ravel, coordinates), strict=True))
        return original(ax, *coordinates, **options)

    monkeypatch.setattr(Axes3D, "plot_surface", recorded)
    return vertices


def contour_sets(ax):
    return [part for part in ax.collections if isinstance(part, QuadContourSet)]


@pytest.mark.parametrize("draw", [surface, contour])
def test_new_axes_or_those_given(draw):
    kind = {"projection": "3d"} if draw is surface else {}
    figure, ax = plt.subplots(subplot_kw=kind)
    assert draw(grid_of(BOWL), ax) is ax
    new = draw(grid_of(BOWL))
    assert new.figure is not figure
    assert new.name == ("3d" if draw is surface else "rectilinear")


@pytest.mark.parametrize("draw", [surface, contour])
def test_one_of_several_metrics(draw):
    grid = grid_of({"loss": BOWL, "accuracy": 2 * BOWL})
    ax = draw(grid, metric="accuracy")
    assert contour_sets(ax)[0].get_clim()[1] == pytest.approx(10, rel=0.1)
    labels = [ax.get_zlabel()] if draw is surface else [a.get_ylabel() for a in ax.figure.axes]
    assert "accuracy" in labels


@pytest.mark.parametrize("draw", [surface, contour, line])
def test_unknown_metric(draw):
    metrics = {"loss": BOWL, "accuracy": BOWL}
    grid = LossLine(X, metrics, 1.0) if draw is line else grid_of(metrics)
    with pytest.raises(ValueError, match="metric must be one of loss, accuracy, got 'error'"):
        draw(grid, metric="error")


# Surfaces


def test_surface_stands_where_the_values_are(drawn):
    ax = surface(grid_of(BOWL))
    assert len(drawn) == 7 * 7
    for a, b, f in drawn:
        assert f == pytest.approx(1 + 3 * a**2 + b**2 / 4)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("α", "β", "loss")


def test_surface_stands_above_its_contours():
    ax = surface(grid_of(BOWL))
    floor, top = ax.get_zlim()
    assert floor < BOWL.min()
    assert top == BOWL.max()
    assert len(contour_sets(ax)) == 1
    assert all(BOWL.min() <= tick <= BOWL.max() for tick in ax.get_zticks())


def test_surface_is_cut_off(drawn):
    ax = surface(grid_of(BOWL), vmax=3.0)
    assert max(f for _, _, f in drawn) == ax.get_zlim()[1] == 3.0


@pytest.mark.parametrize(("scale", "shift"), [(1e-7, 0), (1, 0), (1e7, 0), (1e-5, 2.3)])
def test_marks_of_heights_are_short_and_exact(scale, shift):
    ax = surface(grid_of(shift + scale * BOWL))
    marks = [mark.get_text() for mark in ax.get_zticklabels()]
    assert len(marks) > 3
    assert max(map(len, marks)) <= 8
    np.testing.assert_allclose([float(mark) for mark in marks], ax.get_zticks(), rtol=1e-9)


def test_surfaces_share_a_range_of_colours():
    ranges = [
        surface(grid_of(scale * BOWL), vmin=0.0, vmax=9.0).collections[0].get_clim()
        for scale in (1, 2)
    ]
    assert ranges == [(0.0, 9.0)] * 2


def test_surface_leaves_out_cells_that_are_not_finite(drawn):
    values = BOWL.copy()
    values[0, 0], values[3, 3], values[5, 2] = np.inf, np.nan, -np.inf
    surface(grid_of(values)).figure.canvas.draw()
    assert [(a, b) for a, b, f in drawn if np.isnan(f)] == [
        (X[0], Y[0]),
        (X[3], Y[3]),
        (X[5], Y[2]),
    ]
    assert np.nanmax([f for _, _, f in drawn]) == BOWL.max()


# Contours


def test_contour_has_the_first_direction_across():
    ax = contour(grid_of(BOWL))
    filled, lines = contour_sets(ax)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("α", "β")
    assert ax.get_aspect() == 1
    np.testing.assert_allclose(filled.levels, np.linspace(1, 5, 20))
    np.testing.assert_allclose(lines.levels, filled.levels[1:-1])
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        for a, b in path.vertices:
            assert 1 + 3 * a**2 + b**2 / 4 == pytest.approx(level, rel=0.15)


def test_contour_marks_the_parameters():
    (cross,) = contour(grid_of(BOWL)).lines
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([0], [0])


@pytest.mark.parametrize(
    ("vmin", "vmax", "extend"),
    [(None, None, "neither"), (2.0, None, "min"), (None, 3.0, "max"), (2.0, 3.0, "both")],
)
def test_contour_says_what_lies_beyond_its_range(vmin, vmax, extend):
    ax = contour(grid_of(BOWL), vmin=vmin, vmax=vmax, levels=5)
    filled, _ = contour_sets(ax)
    assert filled.extend == extend
    np.testing.assert_allclose(filled.levels, np.linspace(vmin or 1, vmax or 5, 5))
    _, bar = ax.figure.axes
    assert bar.get_ylabel() == "loss"
    assert all((vmin or 1) <= tick <= (vmax or 5) for tick in bar.get_yticks())


def test_contour_leaves_cells_that_are_not_finite_hatched():
    values = BOWL.copy()
    values[:3, :3] = np.inf  # around (−1, −2)
    values[6, 6] = np.nan  # (1, 2)
    ax = contour(grid_of(values))
    filled, _ = contour_sets(ax)
    vertices = np.concatenate([path.vertices for path in filled.get_paths()])
    assert not np.any((vertices[:, 0] < X[2]) & (vertices[:, 1] < Y[2]))
    assert ax.patch.get_hatch()
    assert filled.levels.max() == values[6, 0] == 5


def test_contour_without_a_colour_bar():
    ax = contour(grid_of(BOWL), colorbar=False)
    assert ax.figure.axes == [ax]


@pytest.mark.parametrize(("side", "aspect"), [(0.3, 1), (4.0, 1), (0.2, "auto"), (5.0, "auto")])
def test_narrow_rectangles_are_stretched(side, aspect):
    ax = contour(LossGrid(X, side * X, BOWL, 1.0))
    ax.figure.canvas.draw()
    assert ax.get_aspect() == aspect


# Ranges


@pytest.mark.parametrize("draw", [surface, contour])
def test_constant_landscape(draw):
    draw(grid_of(np.full((7, 7), 2.0))).figure.canvas.draw()


@pytest.mark.parametrize("draw", [surface, contour])
@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_landscape_without_a_finite_value(draw, nothing):
    with pytest.raises(ValueError, match="no finite value to draw"):
        draw(grid_of(np.full((7, 7), nothing)))


# Lines


def test_line():
    ax = line(LossLine(X, X**2, 0.0), color="k")
    (drawn,) = ax.lines
    np.testing.assert_array_equal(drawn.get_xydata(), np.stack([X, X**2], axis=1))
    assert drawn.get_color() == "k"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("α", "loss")


def test_lines_over_one_another():
    values = {"loss": X**2, "accuracy": np.where(np.abs(X) < 0.5, 1.0, np.nan)}
    ax = line(LossLine(X, values, 0.0))
    assert line(LossLine(X, values, 0.0), ax, metric="accuracy") is ax
    assert len(ax.lines) == 2
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), values["accuracy"])


# Trajectories

PLANE = TrajectoryPlane(({}, {}), np.array([[3.0, 1.0], [2.0, -1.0], [0.0, 0.0]]), [0.9, 0.049])


def test_trajectory_over_contours():
    ax = contour(grid_of(BOWL))
    assert trajectory(PLANE, ax, color="w") is ax
    _, path, start = ax.lines
    np.testing.assert_array_equal(path.get_xydata(), PLANE.coordinates)
    np.testing.assert_array_equal(start.get_xydata(), PLANE.coordinates[:1])
    assert path.get_color() == start.get_markeredgecolor() == "w"
    assert ax.get_xlabel() == "α (90 % of the motion)"
    assert ax.get_ylabel() == "β (4.9 % of the motion)"


def test_trajectory_alone():
    ax = trajectory(PLANE)
    assert len(ax.lines) == 2
    assert ax.lines[0].get_marker() == "o"
