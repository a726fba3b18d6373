import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise._streaming import (
    check_chunk_size,
    default_chunk_size,
    has_convolutions,
    map_examples,
    mean_metrics,
    sum_examples,
)

pytestmark = pytest.mark.usefixtures("strict_promotion")


def numbers(n):
    """Small integers as floats, whose sums are exact in any order."""
    return {"x": jnp.arange(1.0, n + 1), "y": jnp.arange(2 * n).reshape(n, 2)}


def at_most(chunk_size, function):
    """The function, which refuses longer chunks."""

    def checked(chunk, *args):
        assert all(len(leaf) <= chunk_size for leaf in jax.tree.leaves(chunk))
        return function(chunk, *args)

    return checked


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 13), chunk_size=st.integers(1, 15))
def test_map_examples_equals_the_whole_call(n, chunk_size):
    def function(chunk):
        both = chunk["y"].astype(jnp.float32) + chunk["x"][:, None]
        return {"square": chunk["x"] ** 2, "both": both, "y": chunk["y"]}

    whole = function(numbers(n))
    mapped = map_examples(at_most(chunk_size, function), numbers(n), chunk_size)
    for name, values in whole.items():
        np.testing.assert_array_equal(mapped[name], values)
        assert mapped[name].dtype == values.dtype


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 13), chunk_size=st.integers(1, 15))
def test_sum_examples_counts_every_example_once(n, chunk_size):
    def function(chunk, weights):
        y = chunk["y"].astype(weights.dtype)
        return {"x": weights @ chunk["x"], "y": weights @ y, "n": jnp.sum(weights)}

    total = sum_examples(at_most(chunk_size, function), numbers(n), chunk_size)
    data = numbers(n)
    expected = {"x": np.sum(data["x"]), "y": np.sum(data["y"], axis=0), "n": n}
    jax.tree.map(np.testing.assert_array_equal, total, expected)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 5])
@pytest.mark.parametrize("worst", range(5))
def test_one_infinite_loss_makes_the_mean_infinite(chunk_size, worst):
    """Also where a chunk reaches back to it with weight zero."""
    mean = jax.jit(lambda losses: mean_metrics(lambda chunk: chunk, losses, chunk_size))
    assert mean(jnp.ones(5).at[worst].set(jnp.inf)) == {"loss": jnp.inf}


def test_means_over_uneven_chunks_are_exact():
    data = numbers(7)
    means = mean_metrics(lambda chunk: {"x": chunk["x"], "odd": chunk["x"] % 2 == 1}, data, 3)
    assert means == {"x": 4.0, "odd": np.float32(4 / 7)}


def test_half_precision_losses_are_added_in_single_precision():
    losses = jnp.ones(3000, jnp.bfloat16).at[0].set(2)
    mean = mean_metrics(lambda chunk: chunk, losses, 1000)["loss"]
    assert mean.dtype == jnp.float32
    assert mean == np.float32(3001 / 3000)


def test_chunked_sums_can_be_differentiated_and_mapped():
    def mean(w, chunk_size):
        return mean_metrics(lambda chunk: w * chunk["x"], numbers(5), chunk_size)["loss"]

    np.testing.assert_allclose(jax.vmap(lambda w: mean(w, 2))(jnp.array([1.0, 2.0])), [3, 6])
    assert jax.jacfwd(lambda w: mean(w, 2))(1.0) == 3


def test_default_chunk_holds_a_million_numbers():
    shape = jax.eval_shape(lambda: {"x": jnp.zeros((5000, 32, 32, 3)), "y": jnp.zeros(5000)})
    assert default_chunk_size(shape) == 2**20 // (32 * 32 * 3 + 1)


def test_default_chunk_is_never_longer_than_the_data_nor_empty():
    assert default_chunk_size({"x": np.zeros((3, 2))}) == 3
    assert default_chunk_size(jax.eval_shape(lambda: jnp.zeros((3, 2**21)))) == 1


@pytest.mark.parametrize("size", [0, -1])
def test_chunk_sizes_are_positive(size):
    with pytest.raises(ValueError, match="vmap_points must be a positive number"):
        check_chunk_size(size, "vmap_points")


def convolve(w, x):
    return jnp.sum(jax.lax.conv(x, w, (1, 1), "SAME"))


@jax.custom_vjp
def with_own_gradient(w, x):
    return convolve(w, x)


with_own_gradient.defvjp(lambda w, x: (convolve(w, x), w), lambda w, g: (g * w, None))


@pytest.mark.parametrize(
    "function",
    [
        convolve,
        jax.jit(convolve),
        jax.grad(convolve),
        jax.remat(convolve),
        with_own_gradient,
        lambda w, x: jax.lax.scan(lambda c, _: (c + convolve(w, x), None), 0.0, None, 2)[0],
        lambda w, x: jax.lax.cond(x.sum() > 0, convolve, lambda w, x: 0.0, w, x),
        lambda w, x: jax.lax.while_loop(lambda c: c < 1, lambda c: c + convolve(w, x), 0.0),
        jax.tree_util.Partial(lambda scale, w, x: scale * convolve(w, x), 2.0),
    ],
)
def test_convolutions_are_found_wherever_they_are(function):
    assert has_convolutions(function, jnp.ones((1, 1, 3, 3)), jnp.ones((1, 1, 4, 4)))


def test_dense_programs_have_no_convolutions():
    dense = jax.jit(lambda w, x: jax.lax.map(lambda row: jax.nn.relu(row @ w), x))
    assert not has_convolutions(dense, jnp.ones((3, 2)), jnp.ones((4, 3)))
    assert not has_convolutions(functools.partial(jnp.tanh), jnp.ones(3))
