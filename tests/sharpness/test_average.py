import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise.sharpness import AverageSharpness, average_sharpness

pytestmark = pytest.mark.usefixtures("strict_promotion")

# E ξ_i², in which a quadratic's mean increase is ½ Σ H_ii (ρ c_i)² E ξ_i²
MOMENTS = {"gaussian": lambda d: 1, "uniform": lambda d: 1 / 3, "ball": lambda d: 1 / (d + 2)}


def new_key():
    return jax.random.key(4)


@pytest.mark.parametrize(
    ("distribution", "scaling"),
    [("gaussian", "none"), ("uniform", "magnitude"), ("ball", "none")],
)
def test_quadratics_have_a_closed_form(quadratic, distribution, scaling):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6)).astype(np.float32)
    hessian, w = root @ root.T, rng.normal(size=6).astype(np.float32)
    result = average_sharpness(
        new_key(),
        quadratic.loss_fn,
        w,
        quadratic.data(hessian, rng.normal(size=6)),
        0.1,
        num_samples=3000,
        scaling=scaling,
        distribution=distribution,
    )
    scale = 0.1 * (np.abs(w) if scaling == "magnitude" else 1)
    expected = 0.5 * np.sum(np.diag(hessian) * scale**2) * MOMENTS[distribution](6)
    assert result.standard_error < 0.03 * expected
    assert abs(result.value - expected) < 4 * result.standard_error
    assert result.samples.shape == (3000,)


def test_chunks_jit_and_other_values(small, compilations):
    params, data = small.single

    def samples(params, rho=0.1, chunk_size=None):
        options = {"num_samples": 3, "scaling": "magnitude", "chunk_size": chunk_size}
        return average_sharpness(new_key(), small.loss_fn, params, data, rho, **options).samples

    whole = samples(params)
    in_chunks = jax.jit(functools.partial(samples, chunk_size=4))(params)
    np.testing.assert_allclose(in_chunks, whole, rtol=1e-4, atol=1e-6)
    other = jax.tree.map(lambda x: 2 * x, params)
    assert compilations(lambda: samples(other, 0.2)) == 0


def test_results_are_saved_and_loaded(small, tmp_path):
    result = average_sharpness(
        new_key(), small.loss_fn, *small.single, 0.1, num_samples=3, scaling="magnitude"
    )
    result.save(tmp_path / "mean.npz")
    loaded = AverageSharpness.load(tmp_path / "mean.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, "rho must be a positive number, got 0.0"),
        ({"rho": np.ones(2)}, "rho must be a single number"),
        ({"num_samples": 1}, "num_samples must be at least 2, got 1"),
        ({"scaling": "layer"}, "scaling must be one of"),
        ({"distribution": "cauchy"}, "distribution must be one of"),
        ({"data": {"x": np.zeros((0, 3))}}, "data holds no examples"),
        (
            {"loss_fn": lambda w, batch: jnp.exp(jnp.sum(w) * 80) * batch["x"], "rho": 9.0},
            "take a smaller rho",
        ),
    ],
)
def test_wrong_input(options, message):
    arguments = {
        "key": new_key(),
        "loss_fn": lambda w, batch: jnp.sum(w) * batch["x"],
        "params": jnp.ones(1),
        "data": {"x": np.ones(3, np.float32)},
        "rho": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        average_sharpness(**(arguments | options))


@pytest.mark.parametrize("key", [None, jax.random.PRNGKey(0)])
def test_keys_are_typed(key):
    with pytest.raises(TypeError, match="key must be a typed key"):
        average_sharpness(key, lambda w, b: w * b, jnp.ones(()), jnp.ones(3), 0.1)
