"""Shared parameters through the public functions: transformations, order, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.gradients import (
    _profile,
    growth_ratio,
    noise_profile,
    per_example,
    squared_norms,
    squared_norms_and_mean,
)

W = {"w": np.random.default_rng(0).normal(size=(3, 3))}
X = {"x": np.random.default_rng(1).normal(size=(5, 3))}


def used_twice(params, batch):
    """One kernel in two layers."""
    return jnp.sum(jnp.sin(jnp.tanh(batch["x"] @ params["w"]) @ params["w"]), axis=1)


def total_norms(gradients):
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradients)]
    return sum(np.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in leaves)


def noise_norms(loss_fn, params, data):
    gradients = per_example(loss_fn, params, data)
    return total_norms(jax.tree.map(lambda g: g - g.mean(0), gradients))


# Noise


@pytest.mark.parametrize("part_left", [-np.inf, np.inf])
def test_noise_by_slopes_and_by_differences(part_left, monkeypatch, x64):
    monkeypatch.setattr(_profile, "_LEFT", part_left)
    _profile._profile_by_slopes.clear_cache()
    profile = noise_profile(used_twice, W, X, chunk_size=3)
    _profile._profile_by_slopes.clear_cache()
    norms = total_norms(per_example(used_twice, W, X))
    np.testing.assert_allclose(profile.squared_norms, norms, rtol=1e-10)
    noise = noise_norms(used_twice, W, X)
    np.testing.assert_allclose(profile.noise_squared_norms, noise, rtol=1e-10)
    np.testing.assert_allclose(profile.layer_covariance_trace["w"], noise.sum() / 4, rtol=1e-10)


@jax.custom_vjp
def product(w, x):
    return x @ w


product.defvjp(lambda w, x: (x @ w, (w, x)), lambda kept, c: (kept[1].T @ c, c @ kept[0].T))


def test_noise_of_a_loss_with_its_own_backward_rule(x64):
    def loss_fn(params, batch):
        return jnp.sum(jnp.sin(product(params["w"], batch["x"])), axis=1)

    profile = noise_profile(loss_fn, W, X)
    np.testing.assert_allclose(profile.noise_squared_norms, noise_norms(loss_fn, W, X), rtol=1e-10)


def test_noise_in_half_precision_beside_operations_on_parameters_alone():
    """Comparisons of the parameters, by which nothing is differentiated."""

    def loss_fn(params, batch):
        outputs = jnp.sum(jnp.tanh(batch["x"] @ params["w"]), axis=1)
        return outputs * (1 + jnp.sum(params["w"] > jnp.asarray(0.5, params["w"].dtype)))

    params, data = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), (W, X))
    profile = jax.jit(lambda w: noise_profile(loss_fn, w, data))(params)
    expected = noise_norms(loss_fn, *jax.tree.map(lambda x: x.astype(np.float32), (params, data)))
    np.testing.assert_allclose(profile.noise_squared_norms, expected, rtol=0.1)


# Order


@settings(deadline=None, max_examples=12)
@given(order=st.permutations(range(5)), chunk_size=st.sampled_from([None, 2, 3]))
def test_order_and_chunks_change_nothing(order, chunk_size):
    expected, mean = squared_norms_and_mean(used_twice, W, X)
    permuted = {"x": X["x"][np.array(order)]}
    norms, other = squared_norms_and_mean(used_twice, W, permuted, chunk_size=chunk_size)
    np.testing.assert_allclose(norms, expected[np.array(order)], rtol=1e-5)
    np.testing.assert_allclose(other["w"], mean["w"], rtol=1e-5, atol=1e-6)


# Transformations


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.jacfwd, jax.jacrev])
def test_losses_that_close_over_traced_values(transform, x64):
    """The squared norms of s ℓ are s² times those of ℓ; their derivatives by s, 2s times."""
    params, data = jax.tree.map(jnp.asarray, (W, X))

    def scaled(s):
        return squared_norms(lambda w, b: s * used_twice(w, b), params, data, chunk_size=3)

    factors = {jax.jit: 9, jax.vmap: np.array([[9]])}
    s = jnp.array([3.0]) if transform is jax.vmap else 3.0
    expected = factors.get(transform, 6) * total_norms(per_example(used_twice, W, X))
    np.testing.assert_allclose(transform(scaled)(s), expected, rtol=1e-10)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap])
def test_profiles_of_losses_that_close_over_traced_values(transform, x64):
    params, data = jax.tree.map(jnp.asarray, (W, X))

    def scaled(s):
        loss_fn = lambda w, b: jnp.sum(s) * used_twice(w, b)  # noqa: E731
        return noise_profile(loss_fn, params, data).noise_squared_norms

    found = transform(scaled)(jnp.array([3.0])).reshape(5)
    np.testing.assert_allclose(found, 9 * noise_norms(used_twice, W, X), rtol=1e-9)


def test_derivative_of_the_norms(x64):
    """½ d/dw Σ ‖g_i‖² = Σ H_i g_i."""
    found = jax.grad(lambda w: jnp.sum(squared_norms(used_twice, w, X)) / 2)(W)

    def product(x, g):
        gradient = jax.grad(lambda w: used_twice(w, {"x": x[None]})[0])
        return jax.jvp(gradient, (W,), ({"w": g},))[1]["w"]

    products = jax.vmap(product)(X["x"], per_example(used_twice, W, X)["w"])
    np.testing.assert_allclose(found["w"], products.sum(0), rtol=1e-10)


# Examples without gradients of their own, and losses that are none


class Normalised(nnx.Module):
    def __init__(self, rngs):
        self.dense, self.norm = nnx.Linear(3, 2, rngs=rngs), nnx.BatchNorm(2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.dense(x)))


def viewed(**modes):
    """(loss_fn, params, data) of a network whose random keys and statistics stay as they are."""
    graphdef, params, rest = nnx.split(nnx.view(Normalised(nnx.Rngs(0)), **modes), nnx.Param, ...)

    def loss_fn(params, batch):
        return jnp.sum(nnx.merge(graphdef, params, rest, copy=True)(batch["x"]) ** 2, axis=1)

    return loss_fn, nnx.as_pure(params), {"x": X["x"].astype(np.float32)}


MEASURES = [
    per_example,
    squared_norms,
    squared_norms_and_mean,
    noise_profile,
    lambda loss_fn, params, data: growth_ratio(loss_fn, [params], params, data),
]


@pytest.mark.parametrize("measure", MEASURES)
def test_batch_normalisation_in_training_mode_is_refused(measure):
    with pytest.raises(ValueError, match="couples the examples"):
        measure(*viewed(use_running_average=False, deterministic=True))


@pytest.mark.parametrize("measure", MEASURES)
def test_dropout_with_a_fixed_key_is_refused(measure):
    with pytest.raises(ValueError, match="place in the batch"):
        measure(*viewed(use_running_average=True, deterministic=False))


def test_inference_mode():
    case = viewed(use_running_average=True, deterministic=True)
    expected = total_norms(per_example(*case))
    np.testing.assert_allclose(squared_norms(*case), expected, rtol=1e-5)


def test_noise_from_keys_in_the_data(x64):
    def loss_of_one(w, example):
        kept = jax.random.bernoulli(example["key"], 0.5, (3,))
        return jnp.sum(jnp.sin((example["x"] * kept) @ w["w"]))

    keys = jax.random.split(jax.random.key(0), 5)
    loss_fn, data = jax.vmap(loss_of_one, (None, 0)), X | {"key": keys}
    expected = total_norms(per_example(loss_fn, W, data))
    with jax.debug_key_reuse(False):  # the same noise is measured once more
        norms = squared_norms(loss_fn, W, data)
    np.testing.assert_allclose(norms, expected, rtol=1e-10)


def test_losses_that_are_not_floating():
    with pytest.raises(TypeError, match="floating"):
        squared_norms(lambda w, b: (b["x"] @ w["w"])[:, 0] > 0, W, X)
