import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise.gradients import noise_profile, per_example, squared_norms

pytestmark = pytest.mark.usefixtures("strict_promotion")

MEASURES = [per_example, squared_norms, noise_profile]


def flat(gradients):
    """(n, number of parameters) in float64."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradients)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


# Values


def test_reference_numbers(stored, x64):
    gradients = per_example(stored.loss_fn, stored.params, stored.data)
    for name in stored.names:
        expected = stored.expected[f"example_grad_first4_{name}"]
        np.testing.assert_allclose(gradients[name][:4], expected, rtol=1e-11, atol=1e-15)
        mean = stored.expected[f"mean_grad_{name}"]
        np.testing.assert_allclose(gradients[name].mean(0), mean, rtol=1e-10, atol=1e-15)


def test_reference_norms(stored, x64):
    norms = squared_norms(stored.loss_fn, stored.params, stored.data, chunk_size=10)
    np.testing.assert_allclose(norms, stored.expected["example_grad_sq_norm"], rtol=1e-12)


def test_loop_over_examples(stored, by_loop, x64):
    gradients = per_example(stored.loss_fn, stored.params, stored.data, chunk_size=8)
    loop = by_loop(stored.loss_fn, stored.params, stored.data)
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, loop)
    for ours, twin in zip(jax.tree.leaves(gradients), jax.tree.leaves(loop), strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-10, atol=1e-15)


@pytest.mark.slow
def test_single_precision(stored, by_loop):
    single = jax.tree.map(lambda x: x.astype(np.float32), stored.params)
    norms = squared_norms(stored.loss_fn, single, stored.data)
    assert norms.dtype == jnp.float32
    loop = flat(by_loop(stored.loss_fn, single, stored.data))
    np.testing.assert_allclose(norms, np.sum(loop**2, axis=1), rtol=1e-5)


@settings(deadline=None, max_examples=12)
@given(n=st.integers(1, 9), chunk_size=st.none() | st.integers(1, 11))
def test_chunks_change_nothing(dense, n, chunk_size):
    loss_fn, params, data = dense
    data = {"x": data["x"][:n]}
    gradients = per_example(loss_fn, params, data, chunk_size=chunk_size)
    whole = per_example(loss_fn, params, data)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), gradients, whole)
    norms = squared_norms(loss_fn, params, data, chunk_size=chunk_size)
    np.testing.assert_allclose(norms, np.sum(flat(whole) ** 2, axis=1), rtol=1e-5)


def test_mean_is_the_gradient_of_the_mean_loss(dense):
    loss_fn, params, data = dense
    gradient = jax.grad(lambda w: jnp.mean(loss_fn(w, data)))(params)
    for ours, whole in zip(
        jax.tree.leaves(per_example(loss_fn, params, data, chunk_size=4)),
        jax.tree.leaves(gradient),
        strict=True,
    ):
        np.testing.assert_allclose(ours.mean(0), whole, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(9)))
def test_examples_stay_in_order(dense, order):
    loss_fn, params, data = dense
    permuted = {"x": data["x"][np.array(order)]}
    norms = squared_norms(loss_fn, params, data, chunk_size=4)
    np.testing.assert_allclose(
        squared_norms(loss_fn, params, permuted, chunk_size=4), norms[np.array(order)], rtol=1e-6
    )


def test_half_precision_norms_are_formed_in_single_precision():
    loss_fn = lambda w, batch: batch["x"] @ w  # noqa: E731
    norms = squared_norms(
        loss_fn, jnp.ones(4, jnp.float16), {"x": np.full((2, 4), 300, np.float16)}
    )
    np.testing.assert_array_equal(norms, 360000.0)


@pytest.mark.parametrize("name", ["FeedForward", pytest.param("SmallCNN", marks=pytest.mark.slow)])
def test_networks_through_the_seam_to_flax(drawn_network, name):
    model = drawn_network(getattr(jn.models, name), in_channels=1, image_size=8)
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    rng = np.random.default_rng(0)
    data = {"image": rng.normal(size=(5, 8, 8, 1)).astype(np.float32), "label": np.arange(5)}
    norms = squared_norms(loss_fn, params, data)
    gradient = jax.jit(jax.grad(lambda w, batch: loss_fn(w, batch)[0]))
    for i in range(5):
        one = gradient(params, jax.tree.map(lambda x: x[i : i + 1], data))  # noqa: B023
        squares = [np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in jax.tree.leaves(one)]
        np.testing.assert_allclose(norms[i], sum(squares), rtol=1e-4)


# Examples that are coupled


class Normalized(nnx.Module):
    def __init__(self, seed=0):
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(seed))
        self.norm.mean[...] = jnp.full(3, seed / 10)
        self.dense = nnx.Linear(3, 2, rngs=nnx.Rngs(seed))

    def __call__(self, x):
        return self.dense(self.norm(x))


LABELLED = {
    "x": np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32),
    "label": np.array([0, 1, 1, 0, 1, 0]),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_normalisation_over_the_batch_is_refused(measure, dense):
    def loss_fn(params, batch):
        x = batch["x"] - batch["x"].mean(0)
        return (x @ params["w"]).sum(1) ** 2

    with pytest.raises(ValueError, match="loss_fn couples the examples of a batch"):
        measure(loss_fn, *dense[1:])


def test_batch_normalisation_in_training_mode_is_refused():
    params, state, train_loss = jn.models.split_train(Normalized(), jn.losses.cross_entropy, "x")

    def loss_fn(params, batch):
        return train_loss(params, state, batch, jax.random.key(0))[0]

    with pytest.raises(ValueError, match="use inference mode"):
        squared_norms(loss_fn, params, LABELLED)


def test_batch_normalisation_in_inference_mode(by_loop):
    params, loss_fn = jn.models.split(Normalized(seed=3), jn.losses.cross_entropy, "x")
    norms = squared_norms(loss_fn, params, LABELLED)
    loop = flat(by_loop(loss_fn, params, LABELLED))
    np.testing.assert_allclose(norms, np.sum(loop**2, axis=1), rtol=1e-5)


# Transformations and compilation


def test_under_jit_and_vmap(dense):
    loss_fn, params, data = dense
    expected = squared_norms(loss_fn, params, data)
    compiled = jax.jit(lambda w, batch: squared_norms(loss_fn, w, batch, chunk_size=4))
    np.testing.assert_allclose(compiled(params, data), expected, rtol=1e-5)
    several = jax.tree.map(lambda w: jnp.stack([w, 2 * w]), params)
    mapped = jax.vmap(lambda w: squared_norms(loss_fn, w, data))(several)
    np.testing.assert_allclose(mapped[0], expected, rtol=1e-5)
    assert mapped.shape == (2, 9)


def test_values_are_not_checked_while_tracing(dense):
    loss_fn, params, data = dense
    broken = jax.tree.map(lambda w: w + jnp.nan, params)
    norms = jax.jit(lambda w: squared_norms(loss_fn, w, data))(broken)
    assert np.isnan(norms).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_another_checkpoint_compiles_nothing_anew(measure, compilations):
    def prepared(seed):
        params, loss_fn = jn.models.split(Normalized(seed), jn.losses.cross_entropy, "x")
        return loss_fn, params, LABELLED | {"x": LABELLED["x"] + seed}

    first, second = prepared(0), prepared(1)
    assert compilations(lambda: measure(*first, chunk_size=5)) > 0
    assert compilations(lambda: measure(*second, chunk_size=5)) == 0
    for a, b in zip(*(jax.tree.leaves(measure(*x)) for x in (first, second)), strict=True):
        assert not np.array_equal(a, b)


# Errors


@pytest.mark.parametrize("measure", MEASURES)
def test_mean_loss_is_refused(measure, dense):
    loss_fn, params, data = dense
    with pytest.raises(ValueError, match=r"one loss per example, shape \(9,\).*got \(\)"):
        measure(lambda w, batch: jnp.mean(loss_fn(w, batch)), params, data)


@pytest.mark.parametrize("measure", MEASURES)
def test_dict_of_metrics_is_refused(measure, dense):
    loss_fn, params, data = dense
    with pytest.raises(TypeError, match="not a dict of metrics: pick one"):
        measure(lambda w, batch: {"loss": loss_fn(w, batch)}, params, data)


@pytest.mark.parametrize("measure", MEASURES)
def test_leaves_of_unequal_length(measure, dense):
    loss_fn, params, data = dense
    with pytest.raises(ValueError, match="same leading example axis"):
        measure(loss_fn, params, data | {"y": np.zeros(8)})


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("chunk_size", [0, -3])
def test_chunk_size_must_be_positive(measure, dense, chunk_size):
    with pytest.raises(ValueError, match="chunk_size must be a positive number"):
        measure(*dense, chunk_size=chunk_size)


@pytest.mark.parametrize("measure", [squared_norms, noise_profile])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_name_the_example(measure, dense, bad):
    _, params, data = dense
    x = data["x"].copy()
    x[[4, 7], 1] = bad
    with pytest.raises(
        ValueError, match=r"gradient of example 4 is not finite \(2 such examples\)"
    ):
        measure(lambda w, batch: jnp.sum(batch["x"] @ w["w"], axis=1), params, {"x": x})


def test_unknown_method(dense):
    with pytest.raises(ValueError, match="method must be 'auto' or 'vmap', got 'fast'"):
        squared_norms(*dense, method="fast")


def test_methods_agree(dense):
    np.testing.assert_allclose(
        squared_norms(*dense, method="vmap"), squared_norms(*dense, method="auto"), rtol=1e-5
    )
