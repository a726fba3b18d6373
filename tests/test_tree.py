import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from jaxnoise._tree import (
    all_finite,
    as_partial,
    is_concrete,
    leaves_with_path,
    num_examples,
    path_name,
    squared_norm,
)


def scaled(scale, w, batch):
    return scale * w * batch


@pytest.mark.parametrize("scale", [2.0, jnp.array(2.0), np.float32(2)])
def test_as_partial_keeps_what_functions_compute(scale):
    for function in (functools.partial(scaled, scale), Partial(scaled, scale)):
        assert jax.jit(lambda f: f(3.0, 5.0))(as_partial(function)) == 30


def test_as_partial_keeps_callable_pytrees_of_arrays():
    function = Partial(scaled, jnp.array(2.0))
    assert as_partial(function) is function


def test_same_function_gives_equal_pytrees():
    assert jax.tree.structure(as_partial(scaled)) == jax.tree.structure(as_partial(scaled))


def test_as_partial_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="expected a function, got a ArrayImpl"):
        as_partial(jnp.ones(3))


def test_is_concrete():
    assert is_concrete({"a": np.ones(2), "b": 1.0, "c": jax.random.key(0)}, jnp.ones(2))
    seen = []
    jax.jit(lambda x: seen.append(is_concrete(np.ones(1), {"a": x})))(1.0)
    assert seen == [False]


def test_num_examples():
    assert num_examples({"x": np.zeros((4, 2)), "y": [jnp.zeros(4)]}) == 4
    assert num_examples(np.zeros((4, 2))) == 4


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "batch is empty"),
        ({"x": np.zeros((0, 3))}, "batch holds no examples"),
        ({"x": np.zeros(3), "y": 1.0}, "y has no example axis"),
        ({"x": np.zeros((3, 1)), "y": np.zeros(2)}, r"got x \(3, 1\), y \(2,\)"),
    ],
)
def test_batches_without_a_common_length(batch, message):
    with pytest.raises(ValueError, match=message):
        num_examples(batch, "batch")


def test_paths_read_alike_for_dicts_lists_and_states():
    state = nnx.as_pure(nnx.state(nnx.Dict(conv=nnx.Dict(kernel=nnx.Param(jnp.ones(2))))))
    for tree in ({"conv": {"kernel": 1}}, state):
        assert [path_name(path) for path, _ in leaves_with_path(tree)] == ["conv/kernel"]
    assert [path_name(path) for path, _ in leaves_with_path([1, {"b": 2}])] == ["0", "1/b"]


def test_squared_norm():
    tree = {"a": jnp.array([3.0, 4j]), "b": jnp.ones(4096, jnp.bfloat16), "c": np.float32(2)}
    assert squared_norm(tree) == 25 + 4096 + 4


def test_squared_norm_of_half_precision_numbers_does_not_overflow():
    assert squared_norm(jnp.array([1000.0], jnp.float16)) == 1e6


@pytest.mark.parametrize(("value", "expected"), [(1.0, True), (np.nan, False), (np.inf, False)])
def test_all_finite(value, expected):
    assert all_finite({"a": jnp.array([0.0, value]), "step": jnp.arange(2)}) == expected
