"""Means over data sets, in chunks of any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.training import evaluate
from jaxnoise.training._evaluate import _evaluate


def whole_numbers(params, batch):
    """Sums of these are exact in any order."""
    return {"loss": params * batch["x"], "square": batch["x"] ** 2}


@settings(max_examples=12, deadline=None, derandomize=True)
@given(n=st.integers(1, 20), chunk_size=st.one_of(st.none(), st.integers(1, 25)))
def test_means_are_exact_whatever_the_chunks(n, chunk_size):
    x = np.random.default_rng(n).integers(-9, 9, n).astype(np.float32)
    means = evaluate(whole_numbers, jnp.float32(3), {"x": x}, chunk_size=chunk_size)
    one_rounding = 2e-7
    np.testing.assert_allclose(means["loss"], (3 * x).sum() / n, rtol=one_rounding)
    np.testing.assert_allclose(means["square"], (x**2).sum() / n, rtol=one_rounding)


def test_no_chunk_is_longer_than_asked_for():
    def loss_fn(params, batch):
        assert len(batch) <= 4
        return batch - params

    assert evaluate(loss_fn, jnp.zeros(()), jnp.arange(10.0), chunk_size=4)["loss"] == 4.5


def test_losses_without_a_name_are_called_loss():
    means = evaluate(lambda params, batch: batch - params, 1.0, np.array([2.0, 5.0]))
    assert set(means) == {"loss"}
    assert means["loss"].shape == ()
    assert means["loss"] == 2.5


def test_new_params_and_new_arrays_in_the_loss_compile_nothing():
    def scaled(scale, params, batch):
        return scale * params * batch

    before = _evaluate._cache_size()
    for scale in (1.0, 2.0):
        loss_fn = jax.tree_util.Partial(scaled, jnp.array(scale))
        assert evaluate(loss_fn, jnp.array(scale), jnp.ones(3))["loss"] == scale**2
    assert _evaluate._cache_size() == before + 1


@pytest.mark.parametrize("chunk_size", [2, 5])
def test_infinite_loss_gives_an_infinite_mean(chunk_size):
    """Not NaN, wherever it is: the last chunk reaches back, and sees some examples twice."""
    for index in range(5):
        losses = jnp.ones(5).at[index].set(jnp.inf)
        means = evaluate(lambda params, batch: batch, 0.0, losses, chunk_size=chunk_size)
        assert means["loss"] == jnp.inf


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data is empty"),
        ({"x": jnp.ones((0, 2))}, "data holds no examples"),
        ({"x": jnp.ones(3), "y": jnp.ones(4)}, "same leading example axis"),
        ({"x": jnp.ones(3), "y": jnp.ones(())}, "y has no example axis"),
    ],
)
def test_data_without_a_common_example_axis_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        evaluate(whole_numbers, 1.0, data)


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_chunks_have_at_least_one_example(chunk_size):
    with pytest.raises(ValueError, match=f"chunk_size must be a positive number, got {chunk_size}"):
        evaluate(whole_numbers, 1.0, {"x": jnp.ones(3)}, chunk_size=chunk_size)


@pytest.mark.parametrize("shape", [(), (4, 1), (1,), (3,)])
def test_anything_but_one_loss_per_example_is_refused(shape):
    """(4, 1) would be multiplied with the weights to (4, 4), a mean once more over the batch."""
    with pytest.raises(ValueError, match=r"loss_fn must give one loss per example, shape \(4,\)"):
        evaluate(lambda params, batch: jnp.ones(shape), 1.0, jnp.ones(4))
