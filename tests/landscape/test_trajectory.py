import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.landscape import TrajectoryPlane, _trajectory, loss_grid, trajectory_plane

pytestmark = pytest.mark.usefixtures("strict_promotion")

SHAPES = {"kernel": (3, 4), "bias": (4,), "scale": ()}


def path_of(count=7, seed=3, dtype=np.float32):
    """A stacked trajectory with a drift, whose motion along the axes decays."""
    rng = np.random.default_rng(seed)
    return {
        name: np.cumsum(rng.normal(size=(count, *shape)) + 0.3, axis=0).astype(dtype)
        for name, shape in SHAPES.items()
    }


def flat(tree):
    """(d,) in double precision, or (T, d) where the leaves have one axis more than SHAPES says."""
    count = np.shape(tree["scale"])
    parts = [np.reshape(tree[name], (*count, -1)) for name in sorted(SHAPES)]
    return np.concatenate(parts, axis=-1).astype(np.float64)


def slow(trajectory, center):
    """Directions (2, d), coordinates (T, 2), shares (2,) by the full decomposition."""
    rows = flat(trajectory)
    rows = rows - rows[center]
    left, scales, right = np.linalg.svd(rows, full_matrices=False)
    coordinates = (left * scales)[:, :2]
    for k in range(2):
        if coordinates[np.argmax(np.abs(coordinates[:, k])), k] < 0:
            coordinates[:, k], right[k] = -coordinates[:, k], -right[k]
    return right[:2], coordinates, scales[:2] ** 2 / np.sum(scales**2)


def assert_equal_planes(plane, other, rtol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol), plane, other)


@pytest.mark.parametrize("center", [-1, 0, 3])
@pytest.mark.parametrize("count", [3, 7, 40])
@pytest.mark.parametrize("numbers", [2**20, 50])  # one block of columns to a leaf, or several
def test_slow_twin(center, count, numbers, monkeypatch):
    monkeypatch.setattr(_trajectory, "_NUMBERS", numbers)
    if center >= count:
        center = 1
    path = path_of(count)
    plane = trajectory_plane(path, center=center)
    directions, coordinates, shares = slow(path, center)
    for direction, expected in zip(plane.directions, directions, strict=True):
        assert {leaf.dtype for leaf in jax.tree.leaves(direction)} == {jnp.dtype("float32")}
        np.testing.assert_allclose(flat(direction), expected, atol=1e-6)
    np.testing.assert_allclose(plane.coordinates, coordinates, atol=1e-9)
    np.testing.assert_array_equal(plane.coordinates[center], 0)
    np.testing.assert_allclose(plane.explained_variance, shares, rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(3, 12), seed=st.integers(0, 2**20), scale=st.floats(1e-3, 1e3))
def test_projection(count, seed, scale):
    """Orthonormal directions; coordinates are projections; a shift changes nothing."""
    path = jax.tree.map(lambda x: np.float32(scale) * x, path_of(count, seed))
    plane = trajectory_plane(path)
    u, v = (flat(direction) for direction in plane.directions)
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-6)
    rows = flat(path) - flat(path)[-1]
    largest = np.max(np.abs(rows))
    projected = np.stack([rows @ u, rows @ v], axis=1)
    np.testing.assert_allclose(plane.coordinates, projected, atol=1e-5 * largest)
    kept = np.sum(plane.coordinates**2, axis=0) / np.sum(rows**2)
    np.testing.assert_allclose(plane.explained_variance, kept, rtol=1e-9)
    assert kept[0] >= kept[1] > 0
    assert kept.sum() <= 1 + 1e-12
    shifted = trajectory_plane(jax.tree.map(lambda x: x + 2 * largest.astype(np.float32), path))
    np.testing.assert_allclose(shifted.coordinates, plane.coordinates, atol=1e-3 * largest)


def test_a_path_with_little_beside_a_line_keeps_its_second_direction(x64):
    t = np.linspace(0, 1, 9)
    path = {"kernel": np.stack([t, 1e-5 * np.sin(6 * t), 0 * t], axis=1)}
    plane = trajectory_plane(path)
    u, v = (np.asarray(direction["kernel"]) for direction in plane.directions)
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(v), [0, 1, 0], atol=1e-4)


# Ways to give a trajectory


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_iterates_one_by_one(kind):
    path = path_of()
    iterates = [jax.tree.map(lambda x: x[t], path) for t in range(7)]  # noqa: B023
    assert_equal_planes(trajectory_plane(kind(iterates)), trajectory_plane(path))


def test_device_arrays_and_states():
    path = path_of()
    state = nnx.State(jax.tree.map(jnp.asarray, path))
    plane = trajectory_plane(state)
    assert all(isinstance(direction, nnx.State) for direction in plane.directions)
    expected = trajectory_plane(path)
    np.testing.assert_array_equal(plane.coordinates, expected.coordinates)


def test_single_arrays():
    path = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    plane = trajectory_plane(path)
    assert plane.directions[0].shape == (6,)
    assert_equal_planes(trajectory_plane(list(path)), plane)


def test_half_precision():
    path = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), path_of())
    plane = trajectory_plane(path)
    assert plane.directions[0]["kernel"].dtype == jnp.bfloat16
    np.testing.assert_allclose(plane.coordinates, slow(path, -1)[1], atol=1e-9)


# Landscapes


def test_three_iterates_lie_in_the_landscape_of_their_plane():
    path = path_of(3)
    plane = trajectory_plane(path)

    def loss_fn(w, batch):
        return batch["x"] * (jnp.sum(jnp.sin(w["kernel"])) + jnp.sum(w["bias"] ** 2) + w["scale"])

    last = jax.tree.map(lambda x: x[-1], path)
    data = {"x": jnp.ones(4)}
    for t, (alpha, beta) in enumerate(plane.coordinates):
        grid = loss_grid(
            loss_fn,
            last,
            plane.directions,
            data,
            radius=((alpha, alpha + 1), (beta - 1, beta)),
            resolution=2,
        )
        iterate = jax.tree.map(lambda x: x[t], path)  # noqa: B023
        np.testing.assert_allclose(grid.values[0, 1], loss_fn(iterate, data)[0], rtol=1e-4)


@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
def test_ranges_hold_the_path(margin):
    plane = trajectory_plane(path_of())
    for column, (low, high) in zip(plane.coordinates.T, plane.ranges(margin), strict=True):
        length = column.max() - column.min()
        np.testing.assert_allclose(low, column.min() - margin * length)
        np.testing.assert_allclose(high, column.max() + margin * length)
        assert low <= 0 <= high


# Errors


def with_value(value):
    path = path_of()
    path["bias"][2, 1] = value
    return path


@pytest.mark.parametrize(
    ("trajectory", "message"),
    [
        (path_of(2), "at least 3 iterates to span a plane, got 2"),
        ([], "at least 3 iterates to span a plane, got 0"),
        ([np.ones(3)] * 2, "at least 3 iterates"),
        (np.ones((4, 3)), "nothing but equal iterates"),
        ([{}] * 4, "nothing but equal iterates"),
        (np.arange(8.0)[:, None] * np.ones(3), "lies on a line: take loss_line"),
        (with_value(np.nan), "bias is not finite"),
        (with_value(np.inf), "bias is not finite"),
        ({"a": np.ones((4, 2)), "b": np.ones((3, 2))}, "same leading example axis"),
        ([{"a": np.ones(2)}, {"b": np.ones(2)}, {"a": np.ones(2)}], "same structure"),
        (
            [{"a": np.ones(2)}, {"a": np.ones(3)}, {"a": np.ones(2)}],
            r"a has several shapes.*\(2,\)",
        ),
    ],
)
def test_wrong_trajectories(trajectory, message):
    with pytest.raises(ValueError, match=message):
        trajectory_plane(trajectory)


def test_integers():
    with pytest.raises(TypeError, match="real floating arrays alone, but step is int32"):
        trajectory_plane({"step": np.arange(5, dtype=np.int32), "w": np.ones((5, 2))})


@pytest.mark.parametrize("center", [7, -8])
def test_wrong_center(center):
    with pytest.raises(ValueError, match=f"center must be one of the 7 iterates, got {center}"):
        trajectory_plane(path_of(), center=center)


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf])
def test_wrong_margin(margin):
    plane = TrajectoryPlane(({}, {}), np.eye(3)[:, :2], np.ones(2))
    with pytest.raises(ValueError, match="margin must be a number that is not negative"):
        plane.ranges(margin)
