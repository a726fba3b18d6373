import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from jaxnoise.landscape import LossGrid
from jaxnoise.plotting import landscapes

X = np.linspace(-1, 1, 9)
BOWL = 1 + 3 * X[:, None] ** 2 + X**2  # from 1 to 5


def grids_of(*scales):
    return {f"times {scale}": LossGrid(X, X, scale * BOWL, float(scale)) for scale in scales}


def contours(ax):
    return next(part for part in ax.collections if isinstance(part, QuadContourSet))


def test_surfaces_above_contours_at_one_scale():
    axes = landscapes(grids_of(1, 2, 0.5))
    assert axes.shape == (2, 3)
    assert [ax.name for ax in axes.ravel()] == ["3d"] * 3 + ["rectilinear"] * 3
    assert [ax.get_title() for ax in axes[0]] == ["times 1", "times 2", "times 0.5"]
    high = np.quantile(np.concatenate([BOWL.ravel() * s for s in (1, 2, 0.5)]), 0.98)
    for above, below in axes.T:
        assert above.get_zlim()[1] == pytest.approx(high)
        assert above.collections[0].get_clim() == pytest.approx((0.5, high))
        np.testing.assert_allclose(contours(below).levels[[0, -1]], [0.5, high])
    heights = [ax.get_position().height for ax in axes[1]]
    np.testing.assert_allclose(heights, heights[0])
    figure = axes[0, 0].figure
    (bar,) = set(figure.axes) - set(axes.ravel())
    assert bar.get_ylabel() == "loss"
    # The second landscape alone goes beyond the range, which the one bar says.
    assert [contours(ax).extend for ax in axes[1]] == ["neither", "max", "neither"]
    figure.canvas.draw()
    assert bar._colorbar.extend == "max"


def test_each_at_its_own_scale():
    axes = landscapes(grids_of(1, 10), share=False, quantile=1.0)
    assert [above.get_zlim()[1] for above in axes[0]] == [5, 50]
    assert len(axes[0, 0].figure.axes) == 6


def test_given_range_and_figure():
    figure = Figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = landscapes(grids_of(1, 2), right, vmin=0.0, vmax=3.0)
    assert not plt.get_fignums()
    assert not left.axes
    assert set(axes.ravel()) < set(right.axes)
    for above, below in axes.T:
        assert above.get_zlim()[1] == 3
        np.testing.assert_allclose(contours(below).levels[[0, -1]], [0, 3])


def test_another_metric_and_cells_that_are_not_finite():
    error = np.where(BOWL > 4, np.inf, BOWL)
    grids = {"a": LossGrid(X, X, {"loss": -BOWL, "error": error}, {"loss": -1.0, "error": 1.0})}
    axes = landscapes(grids, metric="error", quantile=1.0)
    assert axes[0, 0].get_zlabel() == "error"
    assert axes[0, 0].get_zlim()[1] == BOWL[BOWL <= 4].max()
    assert axes[1, 0].patch.get_hatch()
    axes[0, 0].figure.canvas.draw()


def test_labels_lie_inside_the_figure_and_apart():
    axes = landscapes(grids_of(1, 1e-5), share=False)
    figure = axes[0, 0].figure
    figure.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1
    for k, box in enumerate(boxes):
        assert box.count_overlaps(boxes[:k]) == 0


@pytest.mark.parametrize(
    ("grids", "options", "message"),
    [
        ({}, {}, "grids is empty"),
        (grids_of(1), {"quantile": 0.0}, r"quantile must be in \(0, 1\]"),
        (grids_of(1, np.nan), {}, "no finite value to draw"),
    ],
)
def test_errors(grids, options, message):
    with pytest.raises(ValueError, match=message):
        landscapes(grids, **options)
