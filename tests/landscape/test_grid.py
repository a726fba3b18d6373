import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise.landscape import LossGrid, LossLine, loss_grid, loss_line

pytestmark = pytest.mark.usefixtures("strict_promotion")


def grid_of(problem, **options):
    return loss_grid(problem.loss_fn, problem.params, problem.directions, problem.data, **options)


def line_of(problem, **options):
    direction = problem.directions[0]
    return loss_line(problem.loss_fn, problem.params, direction, problem.data, **options)


# Values


@settings(deadline=None, max_examples=12)
@given(
    resolution=st.integers(2, 5),
    radius=st.floats(0.1, 2.0),
    chunk_size=st.none() | st.integers(1, 12),
    vmap_points=st.none() | st.integers(1, 30),
)
def test_every_point_of_a_grid_is_a_direct_evaluation(
    problem, resolution, radius, chunk_size, vmap_points
):
    grid = grid_of(
        problem,
        resolution=resolution,
        radius=radius,
        chunk_size=chunk_size,
        vmap_points=vmap_points,
    )
    np.testing.assert_allclose(grid.alphas, np.linspace(-radius, radius, resolution))
    np.testing.assert_array_equal(grid.alphas, grid.betas)
    expected = problem.slow_grid(grid.alphas, grid.betas)
    np.testing.assert_allclose(grid.values, expected, rtol=2e-5)
    np.testing.assert_allclose(grid.center, problem.slow_losses(0, 0).mean(), rtol=2e-5)


@settings(deadline=None, max_examples=6)
@given(
    resolution=st.integers(2, 9),
    chunk_size=st.none() | st.integers(1, 12),
    vmap_points=st.none() | st.integers(1, 12),
)
def test_every_point_of_a_line_is_a_direct_evaluation(problem, resolution, chunk_size, vmap_points):
    line = line_of(problem, resolution=resolution, chunk_size=chunk_size, vmap_points=vmap_points)
    np.testing.assert_allclose(line.alphas, np.linspace(-0.5, 0.5, resolution))
    expected = [problem.slow_losses(alpha).mean() for alpha in line.alphas]
    np.testing.assert_allclose(line.values, expected, rtol=2e-5)
    np.testing.assert_allclose(line.center, problem.slow_losses(0).mean(), rtol=2e-5)


def test_double_precision(problem, x64):
    wide = dataclasses.make_dataclass("Wide", ["loss_fn", "params", "directions", "data"])(
        problem.loss_fn,
        *jax.tree.map(np.float64, (problem.params, problem.directions, problem.data)),
    )
    grid = grid_of(wide, resolution=3, chunk_size=4)
    np.testing.assert_allclose(grid.values, problem.slow_grid(grid.alphas, grid.betas), rtol=1e-13)


def test_first_index_goes_with_the_first_direction():
    plane = (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    grid = loss_grid(
        lambda w, batch: batch["x"] * (10 * w[0] + w[1]),
        jnp.zeros(2),
        plane,
        {"x": jnp.ones(3)},
        radius=1.0,
        resolution=3,
    )
    np.testing.assert_allclose(grid.values, [[-11, -10, -9], [-1, 0, 1], [9, 10, 11]])
    assert grid.center == 0


@pytest.mark.parametrize(
    ("radius", "alphas", "betas"),
    [
        ((0.5, 2.0), [-0.5, 0, 0.5], [-2, 0, 2]),
        (((0.5, 1.0), (-3, -1)), [0.5, 0.75, 1], [-3, -2, -1]),
        (np.array([[-0.2, 0.4], [0, 2]]), [-0.2, 0.1, 0.4], [0, 1, 2]),
    ],
)
def test_rectangles(problem, radius, alphas, betas):
    grid = grid_of(problem, radius=radius, resolution=3)
    np.testing.assert_allclose(grid.alphas, alphas, atol=1e-15)
    np.testing.assert_allclose(grid.betas, betas, atol=1e-15)
    np.testing.assert_allclose(grid.values, problem.slow_grid(alphas, betas), rtol=2e-5)
    np.testing.assert_allclose(grid.center, problem.slow_losses(0, 0).mean(), rtol=2e-5)


def test_part_of_a_line(problem):
    line = line_of(problem, radius=(0.5, 1.5), resolution=3)
    np.testing.assert_allclose(line.alphas, [0.5, 1, 1.5])
    expected = [problem.slow_losses(alpha).mean() for alpha in line.alphas]
    np.testing.assert_allclose(line.values, expected, rtol=2e-5)
    np.testing.assert_allclose(line.center, problem.slow_losses(0).mean(), rtol=2e-5)


def test_both_directions_in_one_pytree(problem):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problem.directions)
    grid = loss_grid(problem.loss_fn, problem.params, stacked, problem.data, resolution=3)
    jax.tree.map(np.testing.assert_array_equal, grid, grid_of(problem, resolution=3))


def test_both_directions_in_one_array():
    grid = loss_grid(
        lambda w, batch: batch["x"] * (10 * w[0] + w[1]),
        jnp.zeros(2),
        jnp.eye(2),
        {"x": jnp.ones(3)},
        radius=1.0,
        resolution=3,
    )
    np.testing.assert_allclose(grid.values, [[-11, -10, -9], [-1, 0, 1], [9, 10, 11]])


def test_metrics_keep_their_names(problem):
    grid = loss_grid(
        problem.metrics_fn, problem.params, problem.directions, problem.data, resolution=3
    )
    expected = problem.slow_grid(grid.alphas, grid.betas)
    assert set(grid.values) == set(grid.center) == {"loss", "large", "file", "identity"}
    np.testing.assert_allclose(grid.values["loss"], expected, rtol=2e-5)
    np.testing.assert_allclose(grid.values["identity"], -expected, rtol=2e-5)
    large = np.mean(problem.slow_losses(grid.alphas[2], grid.betas[0]) > 1)
    np.testing.assert_allclose(grid.values["large"][2, 0], large, rtol=1e-6)
    np.testing.assert_allclose(grid.center["file"], 2 * problem.slow_losses().mean(), rtol=2e-5)


def test_metrics_along_a_line(problem):
    line = loss_line(
        problem.metrics_fn, problem.params, problem.directions[0], problem.data, resolution=3
    )
    assert line.values["large"].shape == (3,)
    np.testing.assert_allclose(line.values["loss"][1], line.center["loss"], rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 2, 3])
def test_cells_that_are_not_finite_are_kept(chunk_size):
    def loss_fn(w, batch):
        worst = (batch["x"] == 2) | (batch["x"] == 3)
        return jnp.where(worst & (w > 0), jnp.inf, w)

    options = {"radius": 1.0, "resolution": 3, "chunk_size": chunk_size}
    data = {"x": jnp.arange(5.0)}
    line = loss_line(loss_fn, 0.0, 1.0, data, **options)
    np.testing.assert_allclose(line.values, [-1, 0, np.inf])
    line = loss_line(lambda w, batch: jnp.sqrt(w) * batch["x"], 0.0, 1.0, data, **options)
    np.testing.assert_allclose(line.values, [np.nan, 0, 2])


def test_half_precision_parameters(problem):
    half = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.bfloat16))
    with jax.numpy_dtype_promotion("standard"):  # of half-precision parameters with the data
        grid = loss_grid(
            problem.loss_fn,
            half(problem.params),
            half(problem.directions),
            problem.data,
            resolution=3,
        )
    expected = problem.slow_grid(grid.alphas, grid.betas)
    np.testing.assert_allclose(grid.values, expected, rtol=0.1)


# Networks through the seam to Flax


@pytest.mark.parametrize("name", ["FeedForward", pytest.param("SmallCNN", marks=pytest.mark.slow)])
def test_networks(drawn_network, name):
    model = drawn_network(getattr(jn.models, name), in_channels=1, image_size=8)
    params, loss_fn = jn.models.split(model, jn.losses.classification)
    rng = np.random.default_rng(2)
    data = {"image": rng.normal(size=(7, 8, 8, 1)).astype(np.float32), "label": np.arange(7)}
    u, v = (jax.tree.map(flip, params) for flip in (np.flip, np.negative))
    grid = loss_grid(loss_fn, params, (u, v), data, radius=1.0, resolution=3, chunk_size=4)

    @jax.jit
    def directly(a, b):
        point = jax.tree.map(lambda w, x, y: w + a * x + b * y, params, u, v)
        return jax.tree.map(jnp.mean, loss_fn(point, data))

    for i, j in [(0, 2), (1, 1), (2, 1)]:
        for metric, value in directly(grid.alphas[i], grid.betas[j]).items():
            np.testing.assert_allclose(grid.values[metric][i, j], value, rtol=1e-5)


# Compilation


def test_new_values_compile_nothing_anew(problem, compilations):
    def loss_fn(params, batch):  # no other test has compiled it
        return problem.loss_fn(params, batch)

    def run(scale, radius):
        params, directions, data = jax.tree.map(
            lambda x: scale * x, (problem.params, problem.directions, problem.data)
        )
        grid = loss_grid(
            loss_fn, params, directions, data, radius=radius, resolution=3, chunk_size=5
        )
        return grid.values

    assert compilations(lambda: run(np.float32(1), 0.5)) > 0
    assert compilations(lambda: run(np.float32(2), 0.7)) == 0


class Normalized(nnx.Module):
    """A dense layer behind batch normalisation, whose statistics belong to the checkpoint."""

    def __init__(self, seed):
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(seed))
        self.norm.mean[...] = jnp.full(3, float(seed))
        self.dense = nnx.Linear(3, 2, rngs=nnx.Rngs(seed))

    def __call__(self, x):
        return self.dense(self.norm(x))


def test_another_checkpoint_of_a_model_compiles_nothing_anew(compilations):
    data = {"x": np.ones((4, 3), np.float32), "label": np.array([0, 1, 1, 0])}

    def prepared(seed):
        params, loss_fn = jn.models.split(Normalized(seed), jn.losses.cross_entropy, "x")
        direction = jax.tree.map(np.ones_like, params)
        return functools.partial(loss_line, loss_fn, params, direction, data, resolution=2)

    first, second = prepared(0), prepared(1)
    assert compilations(lambda: first().values) > 0
    assert compilations(lambda: second().values) == 0
    assert not np.allclose(first().values, second().values)


# Results


def test_grids_are_saved_and_loaded(problem, tmp_path):
    grid = loss_grid(
        problem.metrics_fn, problem.params, problem.directions, problem.data, resolution=3
    )
    grid.save(tmp_path / "grid.npz")
    jax.tree.map(np.testing.assert_array_equal, LossGrid.load(tmp_path / "grid.npz"), grid)


def test_lines_are_saved_and_loaded(problem, tmp_path):
    line = line_of(problem, resolution=4)
    line.save(tmp_path / "line.npz")
    jax.tree.map(np.testing.assert_array_equal, LossLine.load(tmp_path / "line.npz"), line)


def test_results_are_on_the_host(problem):
    leaves = jax.tree.leaves(grid_of(problem, resolution=2))
    assert all(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves)


# Errors


@pytest.mark.parametrize("make", [grid_of, line_of])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.0}, "radius must be a positive number, got 0.0"),
        ({"radius": -1.0}, "radius must be a positive number"),
        ({"radius": float("nan")}, "radius must be a positive number"),
        ({"radius": float("inf")}, "radius must be a positive number"),
        ({"resolution": 1}, "resolution must be at least 2"),
        ({"chunk_size": 0}, "chunk_size must be a positive number"),
        ({"vmap_points": 0}, "vmap_points must be a positive number"),
        ({"sharding": "x"}, "sharding must be a NamedSharding"),
    ],
)
def test_wrong_options(problem, make, options, message):
    with pytest.raises(ValueError, match=message):
        make(problem, **options)


@pytest.mark.parametrize(
    "radius",
    [
        (1.0, -1.0),
        (1.0, 2.0, 3.0),
        ((0, 1), (2, 2)),
        ((0, np.inf), (0, 1)),
        ((0, 1),),
        (1.0, np.nan),
    ],
)
def test_wrong_ranges(problem, radius):
    with pytest.raises(
        ValueError, match=r"radius must be .* a range \(low, high\) with low < high"
    ):
        grid_of(problem, radius=radius)


@pytest.mark.parametrize("radius", [(1.0, 0.0), (1.0,), (0, 1, 2)])
def test_wrong_range_of_a_line(problem, radius):
    with pytest.raises(ValueError, match="radius must be"):
        line_of(problem, radius=radius)


@pytest.mark.parametrize("length", [1, 3])
def test_wrong_number_of_stacked_directions(problem, length):
    stacked = jax.tree.map(lambda leaf: np.stack([leaf] * length), problem.params)
    with pytest.raises(ValueError, match=rf"a leading axis of length 2, got .*\({length},\)"):
        loss_grid(problem.loss_fn, problem.params, stacked, problem.data)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_wrong_number_of_directions(problem, number):
    directions = [problem.params] * number
    with pytest.raises(ValueError, match=rf"directions must be a pair \(u, v\), got {number}"):
        loss_grid(problem.loss_fn, problem.params, directions, problem.data)


def test_direction_unlike_the_parameters(problem):
    with pytest.raises(ValueError, match="direction must be a pytree of the same structure"):
        loss_line(problem.loss_fn, problem.params, {"hidden": np.ones(1)}, problem.data)


def test_mean_loss(problem):
    def mean_loss(params, batch):
        return jnp.mean(problem.loss_fn(params, batch))

    with pytest.raises(ValueError, match=r"one loss per example, shape \(11,\).*got \(\)"):
        loss_line(mean_loss, problem.params, problem.directions[0], problem.data)


def test_mean_metric(problem):
    def metrics(params, batch):
        losses = problem.loss_fn(params, batch)
        return {"loss": losses, "mean": jnp.mean(losses)}

    with pytest.raises(ValueError, match="one mean per example"):
        loss_line(metrics, problem.params, problem.directions[0], problem.data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data is empty"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "data holds no examples"),
        ({"x": np.zeros((5, 3)), "y": np.zeros(4)}, "same leading example axis"),
    ],
)
def test_data_without_examples(problem, data, message):
    with pytest.raises(ValueError, match=message):
        loss_line(problem.loss_fn, problem.params, problem.directions[0], data)


def test_loss_that_is_no_function(problem):
    with pytest.raises(TypeError, match="expected a function"):
        loss_line(3, problem.params, problem.directions[0], problem.data)


def test_grid_around_trained_zero_is_the_documented_picture():
    x = jnp.linspace(-1.0, 1.0, 5)
    grid = jn.landscape.loss_grid(
        lambda w, batch: (batch["x"] @ w) ** 2,
        jnp.zeros(2),
        (jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])),
        {"x": jnp.eye(2)},
        radius=1.0,
        resolution=5,
    )
    np.testing.assert_allclose(grid.values, (x[:, None] ** 2 + x**2) / 2, rtol=1e-6)
