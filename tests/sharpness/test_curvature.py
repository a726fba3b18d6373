import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxnoise.sharpness import (
    HessianEigenvalues,
    HessianTrace,
    SpectralDensity,
    hessian_eigenvalues,
    hessian_trace,
    spectral_density,
)
from jaxnoise.sharpness._lanczos import lanczos_step, ritz_values, start_lanczos


def new_key():
    return jax.random.key(11)


MEASURES = {
    "eigenvalues": lambda *case, num=2, **options: hessian_eigenvalues(
        *case, num, key=new_key(), **options
    ),
    "trace": functools.partial(hessian_trace, new_key(), num_samples=4, rank=2),
    "density": functools.partial(spectral_density, new_key(), num_probes=2, num_iterations=4),
}


@pytest.fixture(params=MEASURES)
def measure(request):
    return MEASURES[request.param]


# Lanczos' method


@jax.jit
def all_steps(matrix):
    state = start_lanczos(new_key(), len(matrix), len(matrix), matrix.dtype)
    step = functools.partial(lanczos_step, lambda v: matrix @ v)
    return jax.lax.fori_loop(0, len(matrix), lambda _, state: step(state), state)


@pytest.mark.parametrize("spectrum", [np.arange(8.0), np.array([5.0, 5, 5, 1, 1, 0, 0, -2])])
def test_lanczos_makes_a_matrix_tridiagonal(spectrum, x64):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    matrix = basis * spectrum @ basis.T
    state = all_steps(matrix)
    q = np.asarray(state.basis[:8])
    np.testing.assert_allclose(q @ q.T, np.eye(8), atol=1e-12)
    beside = state.beside[:-1]
    tridiagonal = np.diag(state.diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    np.testing.assert_allclose(q @ matrix @ q.T, tridiagonal, atol=1e-12)
    np.testing.assert_allclose(ritz_values(state)[0], np.sort(spectrum), atol=1e-12)


# Eigenvalues


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
def test_eigenvalues_of_the_dense_hessian(small, small_hessian, which, x64):
    result = hessian_eigenvalues(
        small.loss_fn,
        small.params,
        small.data,
        3,
        key=new_key(),
        which=which,
        tolerance=1e-8,
        vectors=True,
        chunk_size=4,
    )
    exact = np.linalg.eigvalsh(small_hessian)
    rank = {"largest": exact, "smallest": -exact, "magnitude": np.abs(exact)}[which]
    expected = exact[np.argsort(-rank)[:3]]
    np.testing.assert_allclose(result.values, expected, rtol=1e-9)
    assert result.converged.all()
    assert result.iterations <= small.size
    assert jax.tree.structure(result.vectors) == jax.tree.structure(small.params)
    for i, (value, residual) in enumerate(zip(result.values, result.residuals, strict=True)):
        vector = ravel_pytree(jax.tree.map(lambda leaf: leaf[i], result.vectors))[0]  # noqa: B023
        np.testing.assert_allclose(np.linalg.norm(vector), 1)
        rest = np.linalg.norm(small_hessian @ vector - value * vector)
        np.testing.assert_allclose(rest, residual, atol=1e-11)


@pytest.mark.slow
def test_single_precision(small, small_hessian):
    exact = np.linalg.eigvalsh(small_hessian)[::-1]
    result = hessian_eigenvalues(small.loss_fn, *small.single, 2, key=new_key(), chunk_size=5)
    np.testing.assert_allclose(result.values, exact[:2], rtol=1e-4)
    assert result.converged.all()


@pytest.mark.slow
def test_too_few_iterations(small, small_hessian):
    exact = np.linalg.eigvalsh(small_hessian)[::-1]
    early = hessian_eigenvalues(
        small.loss_fn, *small.single, 2, key=new_key(), max_iterations=2, tolerance=1e-6
    )
    assert not early.converged.any()
    assert early.iterations == 2
    error = np.min(np.abs(exact - early.values[:, None]), axis=1)
    assert (error <= early.residuals + 1e-5).all()


@pytest.mark.parametrize("spectrum", [[5.0, 5.0, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
def test_eigenvalues_that_stand_several_times(quadratic, spectrum):
    data = quadratic.data(np.diag(spectrum).astype(np.float32))
    w = np.ones(3, np.float32)
    result = hessian_eigenvalues(quadratic.loss_fn, w, data, 2, key=new_key())
    np.testing.assert_allclose(result.values, spectrum[:2], atol=1e-5)
    assert result.converged.all()


def test_functions_with_a_backward_rule_of_their_own():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))
    data = {"x": np.array([1.0, 3.0], np.float32)}
    w = np.array([1.0, -2.0], np.float32)
    result = hessian_eigenvalues(
        lambda w, batch: batch["x"] * jnp.sum(cube(w)), w, data, 2, key=new_key()
    )
    np.testing.assert_allclose(result.values, [12, -24], rtol=1e-4)


# Trace


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 5])
def test_trace_of_the_dense_hessian(small, small_hessian, rank, x64):
    result = hessian_trace(
        new_key(), small.loss_fn, small.params, small.data, num_samples=400, rank=rank, chunk_size=4
    )
    assert abs(result.value - np.trace(small_hessian)) < 4 * result.standard_error
    np.testing.assert_allclose(result.value, np.mean(result.samples))
    expected = np.std(result.samples, ddof=1) / 20
    np.testing.assert_allclose(result.standard_error, expected)
    off_diagonal = small_hessian - np.diag(np.diag(small_hessian))
    without_basis = np.sqrt(2 * np.sum(off_diagonal**2) / 400)
    if rank == 0:
        np.testing.assert_allclose(result.standard_error, without_basis, rtol=0.2)
    else:
        assert result.standard_error < 0.6 * without_basis


@pytest.mark.slow
def test_trace_is_exact_where_the_basis_spans_the_range(quadratic, x64):
    root = np.random.default_rng(0).normal(size=(6, 2))
    hessian = root @ root.T
    result = hessian_trace(
        new_key(), quadratic.loss_fn, np.zeros(6), quadratic.data(hessian), num_samples=3, rank=2
    )
    np.testing.assert_allclose(result.samples, np.trace(hessian), rtol=1e-9)


# Density


def test_density_of_the_dense_hessian(small, small_hessian, x64):
    result = spectral_density(
        new_key(), small.loss_fn, small.params, small.data, num_probes=200, width=0.05, chunk_size=4
    )
    exact = np.linalg.eigvalsh(small_hessian)
    spacing = result.grid[1] - result.grid[0]
    np.testing.assert_allclose(np.sum(result.density) * spacing, 1, rtol=1e-3)
    np.testing.assert_allclose(result.weights.sum(1), 1, rtol=1e-9)
    np.testing.assert_allclose(result.nodes, np.broadcast_to(exact, (200, 17)), atol=1e-6)
    sigma = 0.05 * (exact[-1] - exact[0])
    distance = (np.asarray(result.grid)[:, None] - exact) / sigma
    expected = np.mean(np.exp(-(distance**2) / 2), axis=1) / (sigma * np.sqrt(2 * np.pi))
    error = np.abs(result.density - expected)
    assert (error <= 5 * result.standard_error + 1e-6).all()


@pytest.mark.slow
def test_density_of_few_steps_has_the_moments(small, small_hessian, x64):
    options = {"num_probes": 200, "num_iterations": 3, "num_points": 16}
    result = spectral_density(new_key(), small.loss_fn, small.params, small.data, **options)
    for power in (1, 2, 3):
        samples = np.sum(result.weights * result.nodes**power, axis=1)
        expected = np.trace(np.linalg.matrix_power(small_hessian, power)) / 17
        assert abs(samples.mean() - expected) < 4 * samples.std() / np.sqrt(200)


# All of them


def test_other_values_compile_nothing_anew(small, measure, compilations):
    params, data = small.single
    measure(small.loss_fn, params, data, chunk_size=5)
    other = jax.tree.map(lambda x: 2 * x, (params, data))
    assert compilations(lambda: measure(small.loss_fn, *other, chunk_size=5)) == 0


@pytest.mark.slow
def test_under_jit(small, measure):
    params, data = small.single
    compiled = jax.jit(lambda w: measure(small.loss_fn, w, data))(params)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-3),
        compiled,
        measure(small.loss_fn, params, data),
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("eigenvalues", HessianEigenvalues),
        ("trace", HessianTrace),
        ("density", SpectralDensity),
    ],
)
def test_results_are_saved_and_loaded(small, tmp_path, name, kind):
    result = MEASURES[name](small.loss_fn, *small.single, chunk_size=5)
    result.save(tmp_path / "result.npz")
    loaded = kind.load(tmp_path / "result.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, result)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("eigenvalues", {"num": 0}, "num must be at least 1, got 0"),
        ("eigenvalues", {"num": 18}, "num must be at most the number of parameters, 17, got 18"),
        ("eigenvalues", {"num": 3, "max_iterations": 2}, "max_iterations must be at least num = 3"),
        ("eigenvalues", {"which": "top"}, "which must be one of"),
        ("eigenvalues", {"tolerance": 0.0}, "tolerance must be a positive number"),
        ("trace", {"num_samples": 1}, "num_samples must be at least 2"),
        ("trace", {"rank": -1}, "rank must be at least 0"),
        ("trace", {"rank": 17}, "rank must be less than the number of parameters, 17, got 17"),
        ("density", {"num_probes": 1}, "num_probes must be at least 2"),
        ("density", {"num_iterations": 0}, "num_iterations must be at least 1"),
        ("density", {"num_points": 1}, "num_points must be at least 2"),
        ("density", {"width": 0.0}, "width must be a positive number"),
    ],
)
def test_wrong_options(small, name, options, message):
    with pytest.raises(ValueError, match=message):
        MEASURES[name](small.loss_fn, *small.single, **options)


def test_losses_without_second_derivatives():
    def loss_fn(w, batch):
        return batch["x"] * jnp.sum(jnp.sqrt(w))

    with pytest.raises(ValueError, match="no finite second derivatives at params"):
        hessian_trace(new_key(), loss_fn, np.zeros(5, np.float32), {"x": np.ones(3, np.float32)})


def test_loss_that_couples_examples(small, measure):
    def loss_fn(params, batch):
        losses = small.loss_fn(params, batch)
        return losses - jnp.mean(losses)

    with pytest.raises(ValueError, match="couples the examples"):
        measure(loss_fn, *small.single)
