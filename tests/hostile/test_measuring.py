"""Hostile arguments of gradients, landscapes and sharpness.

Each is refused in one line that says which and why. A row is a name, a call, the
error it ends with and what the message must match.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise import gradients, landscape, losses, sharpness

KEY, KEYS, OLD_KEY = jax.random.key(0), jax.random.split(jax.random.key(0), 2), np.zeros(2, "u4")
NAN, INF = float("nan"), float("inf")
STRINGS = np.array(["a", "b", "c"])
OLD = r"key must be a typed key: use jax\.random\.key"
W, X = jnp.array(1.0), {"x": np.array([1.0, 2.0, 4.0], np.float32)}
INTEGERS = r"params must hold real floating arrays alone, but it is int"
SCORES = np.zeros((2, 3), np.float32)
AXIS = np.arange(3.0)
GRID = landscape.LossGrid(AXIS, AXIS, np.ones((3, 3)), 0.0)
LINE = landscape.LossLine(AXIS, AXIS, 0.0)


def squared(w, batch):
    return 0.5 * (batch["x"] - w) ** 2


def grid(**options):
    given = {"loss_fn": squared, "params": W, "directions": (W, W), "data": X}
    return landscape.loss_grid(**given | options)


GRADIENTS = [
    ("chunk of a fraction", lambda: gradients.per_example(squared, W, X, chunk_size=2.5),
     TypeError, r"chunk_size must be a whole number, got 2\.5"),
    ("chunk as text", lambda: gradients.squared_norms(squared, W, X, chunk_size="4"),
     TypeError, "chunk_size must be a whole number, got '4'"),
    ("negative chunk", lambda: gradients.noise_profile(squared, W, X, chunk_size=-1),
     ValueError, "chunk_size must be a positive number, got -1"),
    ("integer parameters", lambda: gradients.per_example(squared, jnp.array(1), X),
     TypeError, INTEGERS),
    ("norms of integer parameters", lambda: gradients.squared_norms(squared, jnp.array(1), X),
     TypeError, INTEGERS),
    ("profile of integer parameters", lambda: gradients.noise_profile(squared, jnp.array(1), X),
     TypeError, INTEGERS),
    ("complex parameters", lambda: gradients.per_example(squared, jnp.array(1j), X),
     TypeError, "params must hold real floating arrays alone, but it is complex"),
    ("no parameters", lambda: gradients.per_example(squared, None, X),
     ValueError, "params holds no arrays"),
    ("text as a parameter", lambda: gradients.noise_profile(squared, {"w": "one"}, X),
     TypeError, "params must hold real floating arrays alone, but w is <U3"),
    ("no data", lambda: gradients.per_example(squared, W, None), ValueError, "batch is empty"),
    ("text as data", lambda: gradients.per_example(squared, W, {"x": STRINGS}),
     TypeError, "batch must hold arrays of numbers, but x is <U1: leave that out"),
    ("objects as data", lambda: gradients.noise_std(squared, W, {"x": np.array([None] * 3)}),
     TypeError, "data must hold arrays of numbers, but x is object"),
    ("a thousand numbers in a list", lambda: gradients.per_example(squared, W, {"x": [0.0] * 1000}),
     ValueError, r"batch: x/0, x/1.* … has no example axis"),
    ("sixty lengths", lambda: gradients.per_example(
        squared, W, {f"entry {i}": np.ones(i + 1) for i in range(60)}),
     ValueError, r"batch: all leaves need the same leading example axis, got entry 0 \(1,\).* …"),
    ("losses of integers", lambda: gradients.per_example(lambda w, b: jnp.ones(3, int), W, X),
     TypeError, "loss_fn must give floating losses, got int"),
    ("no losses", lambda: gradients.per_example(lambda w, b: None, W, X),
     ValueError, r"one loss per example, shape \(3,\).*got None"),
    ("no function", lambda: gradients.noise_profile(None, W, X), TypeError, "expected a function"),
    ("NaN in the data", lambda: gradients.noise_profile(squared, W, {"x": np.array([0, NAN])}),
     ValueError, "gradient of example 1 is not finite"),
    ("labels out of range", lambda: gradients.squared_norms(
        lambda w, b: losses.cross_entropy(w * b["x"], b), W,
        {"x": SCORES, "label": np.array([0, 3])}),
     ValueError, "gradient of example 1 is not finite .* labels out of range"),
    ("labels below 0", lambda: gradients.squared_norms(
        lambda w, b: losses.cross_entropy(w * b["x"], b), W,
        {"x": SCORES, "label": np.array([-1, 1])}),
     ValueError, "gradient of example 0 is not finite .* labels out of range"),
    ("squares that overflow", lambda: gradients.squared_norms(
        lambda w, b: 1e30 * b["x"] * w, W, X), ValueError, "or too large to be squared"),
    ("tau as text", lambda: gradients.vanishing(np.ones(3), "small"),
     TypeError, "tau must be a real number or an array of them, got 'small'"),
    ("no tau", lambda: gradients.vanishing(np.ones(3), None), TypeError, "tau must be a real"),
    ("no norms", lambda: gradients.vanishing(None, 0.1), TypeError, "squared_norms must be a real"),
    ("complex norms", lambda: gradients.vanishing(np.ones(3) * 1j, 0.1),
     TypeError, "squared_norms must be a real number"),
    ("a fraction of a projection", lambda: gradients.noise_projections(KEY, squared, W, X, 2.5),
     TypeError, r"num_projections must be a whole number, got 2\.5"),
    ("old key for projections", lambda: gradients.noise_projections(OLD_KEY, squared, W, X, 2),
     TypeError, OLD),
    ("two keys for projections", lambda: gradients.noise_projections(KEYS, squared, W, X, 2),
     ValueError, r"key must be a single key, got \(2,\)"),
    ("text to test for normality", lambda: gradients.normality(["a"] * 9),
     TypeError, "projections must be a real number or an array"),
    ("ragged projections", lambda: gradients.normality([[1.0], [1.0, 2.0]]),
     TypeError, "projections must be a real number or an array"),
    ("text as a batch size", lambda: gradients.variance_from_critical_batch("8", 0.1, 0.1),
     TypeError, "batch_size must be a real number"),
    ("iterates of another shape", lambda: gradients.growth_ratio(squared, [np.ones(2)], W, X),
     ValueError, r"iterate 0 of the trajectory has a leaf of shape \(2,\)"),
]  # fmt: skip

LANDSCAPES = [
    ("a fraction of a point", lambda: grid(resolution=2.5),
     TypeError, r"resolution must be a whole number, got 2\.5"),
    ("no resolution", lambda: grid(resolution=None),
     TypeError, "resolution must be a whole number"),
    ("radius as text", lambda: grid(radius="1"), TypeError, "radius must be a real number"),
    ("no radius", lambda: grid(radius=None), TypeError, "radius must be a real number"),
    ("no directions", lambda: grid(directions=None),
     ValueError, r"directions must be a pair \(u, v\), got None"),
    ("a number as directions", lambda: landscape.loss_grid(squared, {"w": W}, 5, X),
     ValueError, r"directions must be a pair \(u, v\), got 5"),
    ("directions that are nothing", lambda: grid(directions=(None, None)),
     ValueError, "direction must be a pytree of the same structure"),
    ("text as data of a grid", lambda: grid(data={"x": STRINGS}),
     TypeError, "data must hold arrays of numbers, but x is <U1"),
    ("integer parameters of a grid", lambda: grid(params=1, directions=(1, 1)),
     TypeError, INTEGERS),
    ("a fraction of a chunk", lambda: grid(chunk_size=1.5),
     TypeError, "chunk_size must be a whole"),
    ("a fraction side by side", lambda: grid(vmap_points=1.5),
     TypeError, "vmap_points must be a wh"),
    ("losses in an empty dict", lambda: grid(loss_fn=lambda w, b: {}),
     ValueError, "loss_fn gives an empty dict"),
    ("half a plane", lambda: landscape.loss_grids(KEY, squared, W, X, num=2.5),
     TypeError, r"num must be a whole number, got 2\.5"),
    ("old key for planes", lambda: landscape.loss_grids(OLD_KEY, squared, W, X), TypeError, OLD),
    ("half a direction", lambda: landscape.random_directions(KEY, {"w": SCORES}, num=1.5),
     TypeError, r"num must be a whole number, got 1\.5"),
    ("directions of integers", lambda: landscape.random_directions(
        KEY, {"w": np.eye(2, dtype=int)}),
     TypeError, "params must hold real floating arrays alone, but w is int"),
    ("directions of text", lambda: landscape.random_directions(KEY, {"w": "kernel"}),
     TypeError, "params must hold real floating arrays alone, but w is <U6"),
    ("directions of NaN", lambda: landscape.random_directions(
        jax.random.clone(KEY), {"w": np.full((2, 2), NAN)}, normalization="filter"),
     ValueError, "the direction is not finite: look for non-finite parameters"),
    ("an axis as text", lambda: landscape.random_directions(
        jax.random.clone(KEY), {"w": SCORES}, filter_axis="x"),
     TypeError, "filter_axis must be an axis, or a function .* got 'x'"),
    ("no axis", lambda: landscape.random_directions(
        jax.random.clone(KEY), {"w": SCORES}, filter_axis=lambda path, leaf: None),
     TypeError, "filter_axis must be a whole number, got None"),
    ("trajectory as text", lambda: landscape.trajectory_plane("path"),
     ValueError, "trajectory: it has no example axis"),
    ("half an iterate", lambda: landscape.trajectory_plane(np.eye(5), center=1.5),
     TypeError, r"center must be a whole number, got 1\.5"),
    ("a margin as text", lambda: landscape.TrajectoryPlane((W, W), np.eye(2), AXIS).ranges("wide"),
     TypeError, "margin must be a real number"),
    ("a line as VTK", lambda: landscape.save_vtk(LINE, "unused.vtk"),
     TypeError, "grid must be a LossGrid, got a LossLine"),
    ("values beside the grid", lambda: landscape.save_vtk(
        landscape.LossGrid(AXIS, np.arange(4.0), np.ones((3, 3)), 0.0), "unused.vtk"),
     ValueError, r"grid has values of shape \(3, 3\) at 3 alphas and 4 betas"),
    ("a scale as text", lambda: landscape.save_vtk(GRID, "unused.vtk", scale="1"),
     TypeError, "scale must be a real number"),
]  # fmt: skip

SHARPNESS = [
    ("rho as text", lambda: sharpness.worst_case_sharpness(squared, W, X, "small"),
     TypeError, "rho must be a real number .* got 'small'"),
    ("no rho", lambda: sharpness.average_sharpness(KEY, squared, W, X, None),
     TypeError, "rho must be a real number .* got None"),
    ("half a step", lambda: sharpness.worst_case_sharpness(squared, W, X, 0.1, num_steps=2.5),
     TypeError, "num_steps must be a whole number"),
    ("half an example", lambda: sharpness.worst_case_sharpness(squared, W, X, 0.1, batch_size=1.5),
     TypeError, "batch_size must be a whole number"),
    ("two keys for restarts", lambda: sharpness.worst_case_sharpness(
        squared, W, X, 0.1, num_restarts=2, key=KEYS), ValueError, "key must be a single key"),
    ("NaN in data for sharpness", lambda: sharpness.worst_case_sharpness(
        squared, W, {"x": np.array([0, NAN])}, 0.1), ValueError, "not finite, at example 1"),
    ("no parameters to move", lambda: sharpness.worst_case_sharpness(squared, {}, X, 0.1),
     ValueError, "params holds no arrays"),
    ("epsilon as text", lambda: sharpness.box_sharpness(squared, W, X, "small"),
     TypeError, "epsilon must be a real number"),
    ("half an iteration", lambda: sharpness.box_sharpness(squared, W, X, 0.1, max_iterations=2.5),
     TypeError, "max_iterations must be a whole number"),
    ("half a dimension", lambda: sharpness.box_sharpness(
        squared, W, X, 0.1, subspace_dim=0.5, key=KEY),
     TypeError, "subspace_dim must be a whole"),
    ("half an eigenvalue", lambda: sharpness.hessian_eigenvalues(squared, W, X, 1.5, key=KEY),
     TypeError, "num must be a whole number"),
    ("old key for eigenvalues", lambda: sharpness.hessian_eigenvalues(squared, W, X, key=OLD_KEY),
     TypeError, OLD),
    ("half an iteration of Lanczos", lambda: sharpness.hessian_eigenvalues(
        squared, W, X, key=KEY, max_iterations=2.5), TypeError, "max_iterations must be a whole"),
    ("tolerance as text", lambda: sharpness.hessian_eigenvalues(
        squared, W, X, key=KEY, tolerance="x"), TypeError, "tolerance must be a real number"),
    ("half a sample", lambda: sharpness.hessian_trace(KEY, squared, W, X, num_samples=2.5),
     TypeError, "num_samples must be a whole number"),
    ("half a rank", lambda: sharpness.hessian_trace(KEY, squared, W, X, rank=0.5),
     TypeError, "rank must be a whole number"),
    ("half a point of a density", lambda: sharpness.spectral_density(
        KEY, squared, W, X, num_points=2.5), TypeError, "num_points must be a whole number"),
    ("infinite width", lambda: sharpness.spectral_density(KEY, squared, W, X, width=INF),
     ValueError, "width must be a positive number, got inf"),
]  # fmt: skip

CASES = [*GRADIENTS, *LANDSCAPES, *SHARPNESS]


def test_the_table_is_long_and_says_nothing_twice():
    assert len(CASES) >= 70
    assert len({name for name, *_ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("call", "kind", "pattern"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_refused(call, kind, pattern, assert_refused):
    assert_refused(call, kind, pattern)


def test_chunks_that_do_not_divide_give_the_same():
    batch = {"x": np.linspace(-1, 2, 7, dtype=np.float32)}
    whole = gradients.noise_profile(squared, W, batch)
    for size in (3, np.int64(5), np.int32(100)):
        parts = gradients.noise_profile(squared, W, batch, chunk_size=size)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), parts, whole)
