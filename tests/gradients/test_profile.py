import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

from jaxnoise import _streaming
from jaxnoise.gradients import NoiseProfile, _norms, _profile, noise_profile, squared_norms

pytestmark = pytest.mark.usefixtures("strict_promotion")


def slow_profile(gradients):
    """All statistics from the materialised gradients, name → (n, …)."""
    layers = {name: np.asarray(g, np.float64).reshape(len(g), -1) for name, g in gradients.items()}
    g = np.concatenate(list(layers.values()), axis=1)
    n, mean = len(g), g.mean(0)
    trace = np.sum((g - mean) ** 2) / (n - 1)
    return NoiseProfile(
        squared_norms=np.sum(g**2, axis=1),
        noise_squared_norms=np.sum((g - mean) ** 2, axis=1),
        mean_squared_norm=np.mean(np.sum(g**2, axis=1)),
        gradient_squared_norm=mean @ mean,
        covariance_trace=trace,
        noise_scale=trace / (mean @ mean),
        layer_squared_norms={k: np.sum(v**2, axis=1) for k, v in layers.items()},
        layer_gradient_squared_norm={k: np.sum(v.mean(0) ** 2) for k, v in layers.items()},
        layer_covariance_trace={
            k: np.sum((v - v.mean(0)) ** 2) / (n - 1) for k, v in layers.items()
        },
    )


def assert_close(profile, expected, rtol):
    assert jax.tree.structure(profile) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14), profile, expected
    )


def test_reference_numbers(stored, x64):
    profile = noise_profile(stored.loss_fn, stored.params, stored.data)
    expected = stored.expected

    def same(ours, name):
        np.testing.assert_allclose(ours, expected[name], rtol=1e-10, atol=1e-14)

    n = len(expected["x"])
    same(profile.squared_norms, "example_grad_sq_norm")
    same(profile.gradient_squared_norm, "mean_grad_sq_norm")
    same(profile.covariance_trace, "trace_cov_unbiased")
    same(np.mean(profile.noise_squared_norms), "trace_cov_biased")
    same(profile.noise_scale, "noise_to_signal_naive")
    unbiased = profile.gradient_squared_norm - profile.covariance_trace / n
    same(unbiased, "mean_grad_sq_norm_unbiased")
    assert list(profile.layer_squared_norms) == sorted(stored.names)
    for name, norms in profile.layer_squared_norms.items():
        same(norms, f"example_grad_sq_norm_{name}")
        mean = expected[f"mean_grad_{name}"]
        np.testing.assert_allclose(
            profile.layer_gradient_squared_norm[name], np.sum(mean**2), rtol=1e-10
        )


@pytest.mark.parametrize("chunk_size", [None, 7, 100])
def test_slow_twin(stored_mlp, by_loop, chunk_size, x64):
    case = (stored_mlp.loss_fn, stored_mlp.params, stored_mlp.data)
    profile = noise_profile(*case, chunk_size=chunk_size)
    assert_close(profile, slow_profile(by_loop(*case)), rtol=1e-11)


@pytest.mark.slow
def test_single_precision(stored, by_loop):
    single = jax.tree.map(lambda x: x.astype(np.float32), stored.params)
    profile = noise_profile(stored.loss_fn, single, stored.data, chunk_size=16)
    assert {leaf.dtype for leaf in jax.tree.leaves(profile)} == {jnp.dtype("float32")}
    twin = slow_profile(by_loop(stored.loss_fn, single, stored.data))
    assert_close(profile, twin, rtol=2e-5)


def linear(w, batch):
    """A loss whose gradients are the examples themselves."""
    return batch["x"] @ w


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(2, 9),
    chunk_size=st.none() | st.integers(1, 11),
    scale=st.floats(-30, 30),
    seed=st.integers(0, 99),
)
def test_identities(n, chunk_size, scale, seed):
    x = np.random.default_rng(seed).normal(size=(n, 3)) * 2.0**scale
    p = noise_profile(linear, jnp.ones(3), {"x": x.astype(np.float32)}, chunk_size=chunk_size)
    biased_trace = p.covariance_trace * (n - 1) / n
    np.testing.assert_allclose(
        p.mean_squared_norm - p.gradient_squared_norm,
        biased_trace,
        atol=1e-5 * p.mean_squared_norm,
    )
    np.testing.assert_allclose(np.mean(p.noise_squared_norms), biased_trace, rtol=1e-5)
    np.testing.assert_allclose(np.mean(p.squared_norms), p.mean_squared_norm, rtol=1e-5)
    np.testing.assert_allclose(
        p.noise_scale, p.covariance_trace / p.gradient_squared_norm, rtol=1e-5
    )


def test_layers_add_up(stored_mlp):
    p = noise_profile(stored_mlp.loss_fn, stored_mlp.params, stored_mlp.data)
    for parts, whole in (
        (p.layer_squared_norms, p.squared_norms),
        (p.layer_gradient_squared_norm, p.gradient_squared_norm),
        (p.layer_covariance_trace, p.covariance_trace),
    ):
        np.testing.assert_allclose(sum(parts.values()), whole, rtol=1e-5)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(6)))
def test_order_of_the_examples(order):
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    one = noise_profile(linear, jnp.ones(3), {"x": x}, chunk_size=4)
    other = noise_profile(linear, jnp.ones(3), {"x": x[np.array(order)]}, chunk_size=4)
    np.testing.assert_allclose(other.squared_norms, one.squared_norms[np.array(order)], rtol=1e-6)
    np.testing.assert_allclose(
        other.noise_squared_norms, one.noise_squared_norms[np.array(order)], rtol=1e-4
    )
    np.testing.assert_allclose(other.covariance_trace, one.covariance_trace, rtol=1e-5)


@pytest.mark.parametrize(
    ("spread", "chunk_size"), [(1e-3, None), (1e-4, None), (1e-4, 17), (1e-5, None)]
)
def test_nearly_alike_examples(stored_mlp, by_loop, spread, chunk_size):
    """Here mean ‖g‖² − ‖ḡ‖² cancels: at 1e-4 not one digit of it is right in float32."""
    rng = np.random.default_rng(4)
    x = stored_mlp.data["x"][:1] + spread * rng.normal(size=(100, 7))
    data = {"x": x.astype(np.float32), "y": np.full(100, stored_mlp.data["y"][0])}
    params = jax.tree.map(np.float32, stored_mlp.params)
    profile = noise_profile(stored_mlp.loss_fn, params, data, chunk_size=chunk_size)
    twin = slow_profile(by_loop(stored_mlp.loss_fn, params, data))
    assert twin.covariance_trace < 10 * spread**2 * twin.gradient_squared_norm
    rounding = 1e-7 / spread + (2e-6 / spread) ** 2  # of the gradients, and of their mean
    np.testing.assert_allclose(profile.covariance_trace, twin.covariance_trace, rtol=rounding)
    np.testing.assert_allclose(profile.gradient_squared_norm, twin.gradient_squared_norm, rtol=1e-5)


def test_the_way_over_the_slopes_is_that_of_the_differences(stored, monkeypatch):
    single = jax.tree.map(np.float32, stored.params)
    fast = noise_profile(stored.loss_fn, single, stored.data, chunk_size=16)
    monkeypatch.setattr(_profile, "_slopes", None)
    with pytest.raises(TypeError):
        noise_profile(stored.loss_fn, single, stored.data)
    monkeypatch.setattr(_profile, "is_concrete", lambda *trees: False)
    direct = noise_profile(stored.loss_fn, single, stored.data, chunk_size=16)
    assert_close(fast, direct, rtol=1e-4)


def test_memory_does_not_grow_with_the_examples(dense):
    loss_fn, params, _ = dense

    def temporary_bytes(n):
        examples = _streaming.Examples({"x": jnp.zeros((n, 3))}, n)
        inputs = (Partial(loss_fn), params, examples, None, None, (0, 20))
        program = _norms._gradient_pass.lower(*inputs, chunk_size=8, method="sums").compile()
        return program.memory_analysis().temp_size_in_bytes - 3 * 4 * n  # less the results

    assert temporary_bytes(4096) <= temporary_bytes(64) + 3 * 4 * 4096


def test_long_work_shows_its_progress(dense, monkeypatch, capsys):
    loss_fn, params, data = dense
    monkeypatch.setattr(_norms, "SHOWS_PROGRESS", 1)
    in_blocks = functools.partial(_streaming.Progress, delay=0.0)
    monkeypatch.setattr(_streaming, "Progress", lambda *args, delay: in_blocks(*args))
    norms = squared_norms(loss_fn, params, data, chunk_size=2)
    assert "gradient norms: 9/9 examples" in capsys.readouterr().err
    np.testing.assert_allclose(
        norms, squared_norms(loss_fn, params, data, method="vmap"), rtol=1e-5
    )


def test_equal_examples_have_no_noise():
    profile = noise_profile(linear, jnp.ones(3), {"x": np.full((8, 3), 0.5, np.float32)})
    assert profile.covariance_trace == profile.noise_scale == 0
    assert profile.gradient_squared_norm == 0.75


def test_no_more_than_a_chunk_is_differentiated_at_a_time():
    def loss_fn(w, batch):
        at_most_four = len(batch["x"]) <= 4
        return batch["x"] @ w * (1.0 if at_most_four else jnp.nan)

    data = {"x": np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)}
    assert np.isfinite(noise_profile(loss_fn, jnp.ones(3), data, chunk_size=4).covariance_trace)


def test_under_jit_and_vmap(dense):
    loss_fn, params, data = dense
    expected = noise_profile(loss_fn, params, data)
    compiled = jax.jit(lambda w: noise_profile(loss_fn, w, data, chunk_size=4))(params)
    several = jax.tree.map(lambda w: jnp.stack([w, 2 * w]), params)
    mapped = jax.vmap(lambda w: noise_profile(loss_fn, w, data))(several)
    assert_close(compiled, expected, rtol=1e-4)
    assert_close(jax.tree.map(lambda x: x[0], mapped), expected, rtol=1e-4)


def test_values_are_not_checked_while_tracing():
    data = {"x": np.full((4, 3), np.nan, np.float32)}
    profile = jax.jit(lambda w: noise_profile(linear, w, data))(jnp.ones(3))
    assert np.isnan(profile.covariance_trace)


def test_parameters_without_a_name():
    profile = noise_profile(linear, jnp.ones(3), {"x": np.eye(3, dtype=np.float32)})
    assert list(profile.layer_squared_norms) == ["params"]


def test_profiles_are_saved_and_loaded(dense, tmp_path):
    profile = noise_profile(*dense)
    profile.save(tmp_path / "profile.npz")
    loaded = NoiseProfile.load(tmp_path / "profile.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, profile)


def test_one_example_has_no_variance():
    with pytest.raises(ValueError, match="at least two examples"):
        noise_profile(linear, jnp.ones(3), {"x": np.ones((1, 3), np.float32)})
