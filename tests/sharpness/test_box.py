import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.sharpness import BoxSharpness, box_sharpness
from jaxnoise.sharpness._around import Around
from jaxnoise.sharpness._box import _box

pytestmark = pytest.mark.usefixtures("strict_promotion")

SOLVERS = ["lbfgsb", "projected"]
SIZE = 5


def corners(radii):
    return np.array(list(itertools.product(*[(-r, r) for r in radii])))


@pytest.mark.parametrize("solver", SOLVERS)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 99), epsilon=st.floats(1e-3, 0.05), guard=st.booleans())
def test_convex_quadratics_have_their_maximum_in_a_corner(quadratic, solver, seed, epsilon, guard):
    """Every slope keeps its sign over the box. A weight that is zero is fixed without guard."""
    rng = np.random.default_rng(seed)
    hessian = rng.uniform(0.1, 1, (SIZE, SIZE))
    hessian = (hessian + hessian.T) / 2 + SIZE * np.eye(SIZE)
    w = rng.uniform(1, 2, SIZE)
    w[0] = 0
    radii = epsilon * (np.abs(w) + guard)
    points = w + corners(radii)
    start = 0.5 * w @ hessian @ w
    largest = np.max(0.5 * np.einsum("ki,ij,kj->k", points, hessian, points))
    with jax.enable_x64(True):
        data = quadratic.data(hessian)
        options = {"guard": guard, "solver": solver, "max_iterations": 50}
        result = jax.device_get(box_sharpness(quadratic.loss_fn, w, data, epsilon, **options))
    np.testing.assert_allclose(result.loss, start, rtol=1e-12)
    np.testing.assert_allclose(result.max_loss, largest, rtol=1e-9)
    np.testing.assert_allclose(result.value, (largest - start) / (start + guard), rtol=1e-8)
    assert result.converged


@pytest.mark.parametrize("solver", SOLVERS)
def test_leaves_a_minimum(quadratic, solver):
    """At the minimum itself the gradient is zero."""
    hessian = np.array([[2.0, 1.0, 0.5], [1.0, 3.0, 0.5], [0.5, 0.5, 1.0]], np.float32)
    data, w = quadratic.data(hessian, np.ones(3)), np.ones(3, np.float32)
    options = {"solver": solver, "max_iterations": 60}
    result = box_sharpness(quadratic.loss_fn, w, data, 0.5, **options)
    np.testing.assert_allclose(result.value, 0.5 * hessian.sum(), rtol=1e-5)  # z = (1, 1, 1), L = 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_maximum_inside_the_box(quadratic, solver):
    hessian = -np.diag([1.0, 30.0, 900.0]).astype(np.float32)
    data, w = quadratic.data(hessian, np.array([0.3, 0.02, -0.01])), np.zeros(3, np.float32)
    options = {"solver": solver, "max_iterations": 60}
    result = box_sharpness(quadratic.loss_fn, w, data, 0.5, **options)
    np.testing.assert_allclose(result.max_loss, 0, atol=1e-4)


@pytest.mark.parametrize("solver", ["lbfgsb", pytest.param("projected", marks=pytest.mark.slow)])
def test_random_subspace(quadratic, solver, x64):
    rng = np.random.default_rng(0)
    hessian, w, key = np.diag(rng.uniform(1, 2, SIZE)), rng.normal(size=SIZE), jax.random.key(3)
    data = quadratic.data(hessian)
    around = Around.of(quadratic.loss_fn, w, data, None)
    box, _ = _box(around, 0.02, jax.random.clone(key), True, 3)
    matrix = np.asarray(box.subspace)
    assert matrix.shape == (SIZE, 3)
    np.testing.assert_allclose(
        box.radii, 0.02 * (np.abs(np.linalg.pinv(matrix) @ w) + 1), rtol=1e-10
    )
    points = w + corners(box.radii) @ matrix.T
    largest = np.max(0.5 * np.einsum("ki,ij,kj->k", points, hessian, points))
    options = {"subspace_dim": 3, "key": key, "solver": solver}
    result = box_sharpness(quadratic.loss_fn, w, data, 0.02, **options)
    np.testing.assert_allclose(result.max_loss, largest, rtol=1e-9)


@pytest.mark.parametrize("subspace_dim", [None, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("guard", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "network", ["mlp_tanh_ragged", pytest.param("mlp_relu", marks=pytest.mark.slow)]
)
def test_projected_reaches_what_lbfgsb_reaches(stored, network, guard, subspace_dim):
    case = stored(network)
    params = jax.tree.map(np.float32, case.params)
    data = {"x": np.float32(case.data["x"]), "y": case.data["y"].astype(np.int32)}
    epsilon = np.array([1e-3, 0.01, 0.1])
    options = {"guard": guard, "subspace_dim": subspace_dim, "key": jax.random.key(1)}
    by_host, by_device = (
        box_sharpness(case.loss_fn, params, data, epsilon, solver=solver, **options)
        for solver in SOLVERS
    )
    assert by_host.value.shape == by_device.value.shape == (3,)
    assert (np.diff(by_host.value) > 0).all()
    assert (np.diff(by_device.value) > 0).all()
    assert (by_device.value >= by_host.value * (1 - 1e-4)).all()
    assert (by_host.iterations <= 10).all()


def test_chunks_jit_and_other_values(small, compilations):
    params, data = small.single

    def value(params, solver, epsilon=0.1, chunk_size=None):
        options = {"solver": solver, "max_iterations": 3, "chunk_size": chunk_size}
        return box_sharpness(small.loss_fn, params, data, epsilon, **options).value

    whole, chunked = (value(params, "lbfgsb", chunk_size=size) for size in (None, 4))
    np.testing.assert_allclose(chunked, whole, rtol=1e-4)
    on_device = value(params, "projected")
    compiled = jax.jit(lambda w: value(w, "projected", chunk_size=4))
    np.testing.assert_allclose(compiled(params), on_device, rtol=1e-4)
    other = jax.tree.map(lambda x: 2 * x, params)
    for solver in SOLVERS:
        assert compilations(lambda solver=solver: value(other, solver, 0.2)) == 0


def test_lbfgsb_under_jit(small):
    params, data = small.single
    with pytest.raises(ValueError, match=r"within jax\.jit take 'projected'"):
        jax.jit(lambda w: box_sharpness(small.loss_fn, w, data, 0.1).value)(params)


def test_results_are_saved_and_loaded(small, tmp_path):
    result = box_sharpness(small.loss_fn, *small.single, [0.01, 0.1])
    result.save(tmp_path / "box.npz")
    jax.tree.map(np.testing.assert_array_equal, BoxSharpness.load(tmp_path / "box.npz"), result)


def squared(w, batch):
    return batch["x"] * w**2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "epsilon must be a positive number, got 0.0"),
        ({"epsilon": np.array([0.1, -1.0])}, "epsilon must be a positive number"),
        ({"epsilon": []}, "epsilon must be a positive number"),
        ({"solver": "sgd"}, "solver must be one of"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"subspace_dim": 1}, "key is needed for a random subspace"),
        ({"subspace_dim": 0}, "subspace_dim must be between 1 and the number of parameters, 1"),
        ({"subspace_dim": 2}, "subspace_dim must be between 1 and the number of parameters, 1"),
        ({"data": {"x": np.zeros(0)}}, "data holds no examples"),
        ({"loss_fn": lambda w, batch: squared(w, batch) - 9}, "make the losses positive"),
        ({"params": 0.0, "guard": False}, "take guard=True"),
        ({"loss_fn": lambda w, batch: jnp.log(w) * batch["x"] - jnp.inf}, "not finite, at example"),
        (
            {"loss_fn": lambda w, batch: jnp.exp(80 * w * batch["x"]), "epsilon": 1.0},
            "not finite everywhere within reach of epsilon",
        ),
    ],
)
def test_wrong_input(options, message):
    arguments = {
        "loss_fn": squared,
        "params": jnp.array(1.0),
        "data": {"x": np.ones(3, np.float32)},
        "epsilon": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        box_sharpness(**(arguments | options))
