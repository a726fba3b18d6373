"""Several planes of random directions."""

import os

import jax
import numpy as np
import pytest

from jaxnoise.landscape import LossGrids, _points, loss_grid, loss_grids, random_directions

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEY = jax.random.key(4)


def grids_of(problem, key=KEY, **options):
    options = {"num": 3, "resolution": 4} | options
    loss_fn = options.pop("loss_fn", problem.loss_fn)
    return loss_grids(key, loss_fn, problem.params, problem.data, **options)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_each_plane_is_that_of_its_own_key(problem):
    drawn = {"normalization": "layer", "ignore": None, "filter_axis": 0}
    grids = grids_of(problem, radius=(0.3, 0.6), **drawn)
    assert len(grids) == 3
    for k, grid in enumerate(grids):
        directions = random_directions(jax.random.fold_in(KEY, k), problem.params, **drawn)
        expected = loss_grid(
            problem.loss_fn,
            problem.params,
            directions,
            problem.data,
            radius=(0.3, 0.6),
            resolution=4,
        )
        assert_same(grid, expected)
    assert not np.allclose(grids.values[0], grids.values[1])
    assert_same(grids_of(problem, num=2, radius=(0.3, 0.6), **drawn)[1], grids[1])


def test_mean_and_spread(problem):
    grids = grids_of(problem, loss_fn=problem.metrics_fn)
    values = grids.values["file"].astype(np.float64)
    mean = sum(values) / 3
    np.testing.assert_allclose(grids.mean.values["file"], mean, rtol=1e-6)
    spread = np.sqrt(sum((v - mean) ** 2 for v in values) / 2)
    np.testing.assert_allclose(grids.std.values["file"], spread, rtol=1e-4)
    assert grids.mean.center["file"] == grids.center["file"]
    assert grids.std.center["file"] == 0
    assert_same((grids.std.alphas, grids.mean.betas), (grids.alphas, grids.betas))


@pytest.mark.parametrize("worst", [np.inf, np.nan])
def test_cells_that_are_not_finite_in_one_plane(worst):
    values = np.ones((2, 2, 2))
    values[0, 1, 1] = worst
    grids = LossGrids(np.arange(2.0), np.arange(2.0), values, 1.0)
    for grid in (grids.mean, grids.std):
        np.testing.assert_array_equal(np.isfinite(grid.values), [[True, True], [True, False]])


def test_grids_are_saved_and_loaded(problem, tmp_path):
    path = tmp_path / "grids.npz"
    grids = grids_of(problem, path=path)
    assert_same(LossGrids.load(path), grids)
    assert_same(grids, grids_of(problem))
    assert os.listdir(tmp_path) == ["grids.npz"]


def test_interrupted_grids_go_on(problem, tmp_path, monkeypatch):
    path, written = tmp_path / "grids.npz", []

    def interrupted(*args, original=_points.write_npz):
        if len(written) == 7:  # a plane has 5 blocks
            raise KeyboardInterrupt
        original(*args)
        written.append(args)

    with monkeypatch.context() as patch:
        patch.setattr(_points, "write_npz", interrupted)
        with pytest.raises(KeyboardInterrupt):
            grids_of(problem, path=path)
    assert sorted(os.listdir(tmp_path)) == ["grids.npz.0.part", "grids.npz.1.part"]
    with pytest.raises(ValueError, match="beginning of another grid"):
        grids_of(problem, key=jax.random.key(5), path=path)
    blocks = []

    def counted(*args, compiled=_points._losses_at, **options):
        blocks.append(len(args[-1]))
        return compiled(*args, **options)

    monkeypatch.setattr(_points, "_losses_at", counted)
    assert_same(grids_of(problem, path=path), grids_of(problem))
    assert blocks == [4] * 8 + [17] * 3
    assert os.listdir(tmp_path) == ["grids.npz"]


def test_all_planes_share_one_program(problem, compilations):
    grids_of(problem, num=2)
    other = jax.random.key(6)
    assert compilations(lambda: grids_of(problem, key=other).values) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": 1}, "num must be at least 2 for a spread, got 1"),
        ({"normalization": "filters"}, "normalization must be one of"),
        ({"radius": 0.0}, "radius must be a positive number"),
    ],
)
def test_wrong_options(problem, options, message):
    with pytest.raises(ValueError, match=message):
        grids_of(problem, **options)
