import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise import smoothing
from jaxnoise.smoothing import functions, nice_report

pytestmark = pytest.mark.usefixtures("strict_promotion")

DELTAS = np.array([1.4, 0.9, 0.25], np.float32)


def new_key():
    return jax.random.key(6)


def slow_wells(delta):
    """(minimiser, points, curvatures) of the smoothed wells, on a grid in double precision."""
    factor = np.sin(3 * delta) / (3 * delta)
    x = np.linspace(-6, 6, 1_200_001)
    values = x**2 / 10 + factor * np.sin(3 * x)
    return x[np.argmin(values)], x, 0.2 - 9 * factor * np.sin(3 * x)


def test_minimisers_and_curvatures_of_wells():
    """f̂_δ of x²/10 + sin 3x is x²/10 + φ(3δ) sin 3x and a constant."""
    lowest = functions.PROBLEMS["multi_well"].minimizer(1)
    report = nice_report(
        new_key(), functions.multi_well, DELTAS, lowest, radius_factors=1.5, num_starts=16
    )
    followed = np.array([slow_wells(delta)[0] for delta in DELTAS])
    np.testing.assert_allclose(report.minimizers[:, 0], followed, atol=3e-3)
    moves = abs(np.diff([*followed, lowest[0]]))
    np.testing.assert_allclose(report.moves, moves, atol=5e-3)
    np.testing.assert_allclose(report.allowed_moves, [0.5, 0.65, 0.25], rtol=1e-5)
    np.testing.assert_allclose(report.distances, abs(followed - lowest), atol=3e-3)
    np.testing.assert_array_equal(report.follows, moves <= [0.5, 0.65, 0.25])
    for stage, delta in enumerate(DELTAS):
        _, x, curvature = slow_wells(delta)
        reach = abs(x - lowest)
        near = curvature[reach <= 1.5 * delta].min()
        wide = curvature[abs(x - followed[stage]) <= 3 * delta].min()
        np.testing.assert_allclose(report.halving_convexity[stage], wide, atol=0.2)
        np.testing.assert_allclose(report.convexity[stage], near, atol=0.2)
        bad = reach[curvature <= 0].min(initial=np.inf)
        expected = min(bad, 1.5 * delta)
        assert expected - 0.05 * delta < report.convex_radii[stage] < expected + 0.01
    assert report.sigma == report.convexity.min()


@pytest.fixture(scope="module")
def bowl():
    """A tilted bowl: smoothing changes neither its curvature nor where it is lowest."""
    matrix = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    lowest = {"x": jnp.array([1.0, -2.0])}

    def f(point):
        x = point["x"] - lowest["x"]
        return x @ matrix @ x / 2

    return nice_report(
        new_key(), f, DELTAS, lowest, distribution="gaussian", num_samples=64, num_points=16
    ), float(np.linalg.eigvalsh(matrix)[0])


def test_convex_functions_are_nice(bowl):
    report, sigma = bowl
    np.testing.assert_allclose(report.convexity, sigma, rtol=1e-4)
    np.testing.assert_allclose(report.halving_convexity, sigma, rtol=1e-4)
    assert report.is_new_nice
    assert report.is_nice
    assert report.is_within_delta.all()
    assert (report.convex_radii > 1.5 * DELTAS).all()
    assert report.minimizers["x"].shape == (3, 2)


def test_the_report_is_a_table_and_is_saved(bowl, tmp_path):
    report, _ = bowl
    head, *rows = str(report).splitlines()
    assert head.split()[:3] == ["δ", "move", "allowed"]
    assert rows[0].split()[0] == "1.4"
    assert rows[-2:] == ["new σ-nice: no sample disagrees", "σ-nice: no sample disagrees"]
    report.save(tmp_path / "nice.npz")
    assert str(smoothing.NiceReport.load(tmp_path / "nice.npz")) == str(report)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": 1}, TypeError, "key must be a typed key"),
        ({"deltas": [1.0, 0.0]}, ValueError, "deltas must be a positive number"),
        ({"deltas": [1.0, 1.0]}, ValueError, "deltas must fall from each to the next"),
        ({"deltas": 1.0}, ValueError, "deltas must be a list of degrees of smoothing"),
        ({"radius_factors": 1.0}, ValueError, "radius_factors must be larger than 1"),
        ({"radius_factors": [2.0, 2.0]}, ValueError, "one for each of the 3 deltas"),
        ({"num_points": 0}, ValueError, "num_points must be at least 1"),
        ({"num_starts": 0}, ValueError, "num_starts must be at least 1"),
        ({"minimizer": 0}, TypeError, "minimizer must hold real floating arrays alone"),
        ({"f": jnp.sin}, ValueError, "f must give a single number"),
    ],
)
def test_wrong_arguments(options, error, message):
    arguments = {"f": jnp.sum, "deltas": DELTAS, "minimizer": jnp.ones(2)}
    with pytest.raises(error, match=message):
        nice_report(**{"key": new_key(), **arguments, **options})
