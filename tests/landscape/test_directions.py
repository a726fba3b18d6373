from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxnoise as jn
from jaxnoise.landscape import normalize_direction, random_directions

pytestmark = pytest.mark.usefixtures("strict_promotion")

FIXTURES = Path(__file__).parents[1] / "fixtures" / "landscape"
NORMALIZATIONS = ("filter_unit", "filter", "layer_unit", "layer", "weight", None)


# Numbers of the authors' code. Their kernels have the filters first, and they divide by
# ‖d_f‖ + 1e-10 where filters are normalised.

REFERENCE_NAMES = {
    "filter": "filter",
    "layer": "layer",
    "weight": "weight",
    "filter_unit": "dfilter",
    "layer_unit": "dlayer",
}


def new_key():
    return jax.random.key(0)


def stored(archive, group):
    names = [key for key in archive.files if key.startswith(group + "/")]
    return {name.removeprefix(group + "/"): archive[name] for name in names}


@pytest.mark.parametrize("file", ["directions_a", "directions_b_zero_filter"])
@pytest.mark.parametrize("normalization", REFERENCE_NAMES)
@pytest.mark.parametrize("ignore", ["bias_and_norm", None])
def test_reference_numbers(file, normalization, ignore, x64):
    archive = np.load(FIXTURES / f"{file}.npz", allow_pickle=False)
    reference = REFERENCE_NAMES[normalization]
    group = f"out/{reference}|{'biasbn' if ignore else 'none'}"
    weight, direction = stored(archive, "weight"), stored(archive, "dir")
    ours = normalize_direction(
        direction, weight, normalization=normalization, ignore=ignore, filter_axis=0
    )
    assert len(ours) == 7
    for name, theirs in stored(archive, group).items():
        if reference.endswith("filter") and theirs.ndim > 1:
            norm = np.linalg.norm(direction[name].reshape(len(theirs), -1), axis=1)
            theirs = theirs * ((norm + 1e-10) / norm).reshape(-1, *[1] * (theirs.ndim - 1))
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-12, err_msg=name)


# A slow twin in float64, one filter at a time, for kernels with the filters last.


def slow(direction, weight, normalization, ignore):
    d, w = np.asarray(direction, np.float64), np.asarray(weight, np.float64)
    if d.ndim <= 1:
        return np.zeros_like(d) if ignore else w
    if normalization is None:
        return d
    if normalization == "weight":
        return d * w
    out = np.zeros_like(d)
    parts = [...] if normalization.startswith("layer") else [(..., f) for f in range(d.shape[-1])]
    for part in parts:
        norm = np.linalg.norm(d[part].ravel())
        if norm > 0:
            scale = 1 if normalization.endswith("unit") else np.linalg.norm(w[part].ravel())
            out[part] = d[part] * scale / norm
    return out


def flax_tree(rng):
    shapes = {
        "conv": {"kernel": (3, 3, 2, 4), "bias": (4,)},
        "norm": {"scale": (4,)},
        "dense": {"kernel": (8, 5), "temperature": ()},
    }
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda s: rng.normal(size=s), shapes, is_leaf=is_shape)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("ignore", ["bias_and_norm", None])
def test_slow_twin_on_flax_layouts(normalization, ignore, x64):
    rng = np.random.default_rng(1)
    direction, weight = flax_tree(rng), flax_tree(rng)
    direction["conv"]["kernel"][..., 2] = 0  # stays zero
    weight["dense"]["kernel"][:, 1] = 0  # becomes zero by "filter"
    ours = normalize_direction(direction, weight, normalization=normalization, ignore=ignore)
    twin = jax.tree.map(lambda d, w: slow(d, w, normalization, ignore), direction, weight)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), ours, twin)


KERNELS = hnp.arrays(
    np.float32, (3, 4), elements=st.floats(-100, 100, width=32).filter(lambda x: abs(x) > 1e-3)
)


@settings(deadline=None, max_examples=30)
@given(KERNELS, KERNELS, st.sampled_from(NORMALIZATIONS))
def test_float32_agrees_with_the_slow_twin(direction, weight, normalization):
    ours = normalize_direction(direction, weight, normalization=normalization)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, slow(direction, weight, normalization, True), rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(KERNELS, KERNELS, st.floats(0.01, 100))
def test_filter_normalization_forgets_the_scale_of_the_direction(direction, weight, scale):
    for normalization in ("filter", "filter_unit", "layer", "layer_unit"):
        one = normalize_direction(direction, weight, normalization=normalization)
        other = normalize_direction(
            np.float32(scale) * direction, weight, normalization=normalization
        )
        np.testing.assert_allclose(one, other, rtol=1e-5)


def like(tree, seed=2):
    """A direction for the parameters, drawn in NumPy."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda w: rng.normal(size=w.shape).astype(w.dtype), tree)


def assert_unit_filters(kernel, axis):
    others = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    np.testing.assert_allclose(jnp.sum(kernel**2, axis=others), 1, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
def test_unit_filters_along_any_axis(axis):
    weight = np.ones((3, 4, 5, 6), np.float32)
    assert_unit_filters(normalize_direction(like(weight), weight, filter_axis=axis), axis)


def test_filter_axis_by_path_and_leaf():
    """Equinox' kernels are (out, in, h, w), Flax' (h, w, in, out)."""
    weight = {"equinox": np.ones((6, 2, 3, 3)), "flax": np.ones((3, 3, 2, 6))}

    def filter_axis(path, leaf):
        assert leaf.shape == weight[path[0].key].shape
        return 0 if path[0].key == "equinox" else -1

    direction = normalize_direction(like(weight), weight, filter_axis=filter_axis)
    assert_unit_filters(direction["equinox"], 0)
    assert_unit_filters(direction["flax"], 3)


def test_equinox_modules():
    import equinox as eqx

    make = lambda: eqx.nn.Conv2d(2, 5, 3, key=new_key())  # noqa: E731
    conv = like(eqx.filter(eqx.filter_eval_shape(make), lambda x: hasattr(x, "dtype")))
    direction = normalize_direction(like(conv, 3), conv, filter_axis=0)
    assert isinstance(direction, eqx.nn.Conv2d)
    assert_unit_filters(direction.weight, 0)
    assert not np.any(direction.bias)


def test_biases_of_several_axes():
    """Attention has biases (heads, features), Equinox' convolutions (out, 1, 1)."""
    weight = {"kernel": np.ones((4, 6)), "bias": np.full((2, 3), 5.0)}
    assert not np.any(normalize_direction(like(weight), weight)["bias"])
    kept = normalize_direction(like(weight), weight, ignore=None)
    np.testing.assert_array_equal(kept["bias"], weight["bias"])


def test_nnx_parameters(drawn_network):
    model = drawn_network(jn.models.FeedForward, in_channels=1, image_size=4, width=6)
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    u, _ = random_directions(new_key(), params)
    assert isinstance(u, nnx.State)
    assert not np.any(u["dense1"]["bias"])
    assert_unit_filters(u["dense2"]["kernel"], -1)
    batch = {"image": np.ones((2, 4, 4, 1), np.float32), "label": np.array([0, 1])}
    assert jax.eval_shape(loss_fn, u, batch).shape == (2,)


# Drawing


def test_directions_depend_on_the_key_alone():
    weight = {"a": np.ones((3, 4), np.float32), "b": np.ones((2, 2), np.float32)}
    for one, other in zip(*[random_directions(new_key(), weight) for _ in range(2)], strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    (another,) = random_directions(jax.random.key(1), weight, num=1)
    assert not np.allclose(another["a"], random_directions(new_key(), weight, num=1)[0]["a"])


def test_directions_and_leaves_are_drawn_independently():
    weight = {"a": np.ones((60, 50), np.float32), "b": np.ones((60, 50), np.float32)}
    directions = random_directions(new_key(), weight, num=3, normalization=None)
    draws = [np.ravel(leaf) for leaf in jax.tree.leaves(directions)]
    assert len(draws) == 6
    np.testing.assert_allclose(np.corrcoef(draws), np.eye(6), atol=0.08)
    np.testing.assert_allclose(np.std(draws, axis=1), 1, atol=0.05)
    np.testing.assert_allclose(np.mean(draws, axis=1), 0, atol=0.08)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("normalization", ["filter", "weight"])
def test_directions_have_the_dtype_of_the_parameters(dtype, normalization):
    weight = {"kernel": jnp.ones((3, 2), dtype), "bias": jnp.ones(2, dtype)}
    for direction in random_directions(new_key(), weight, normalization=normalization, ignore=None):
        assert {leaf.dtype for leaf in jax.tree.leaves(direction)} == {jnp.dtype(dtype)}


def test_norms_of_large_half_precision_layers_do_not_overflow():
    weight = jnp.ones((300, 300), jnp.float16)
    (direction,) = random_directions(new_key(), weight, num=1, normalization="layer")
    np.testing.assert_allclose(jnp.std(direction.astype(jnp.float32)), 1, rtol=1e-2)


def test_under_jit_and_vmap():
    weight = jnp.ones((3, 4))
    keys = jax.random.split(new_key(), 3)
    mapped = jax.vmap(lambda key: random_directions(key, weight, num=1)[0])(keys)
    for key, direction in zip(keys, mapped, strict=True):
        np.testing.assert_allclose(direction, random_directions(key, weight, num=1)[0], rtol=1e-6)


# Errors


@pytest.mark.parametrize(
    "weight", [{"bias": np.ones(3)}, {"kernel": np.ones((3, 0))}, {}, {"scale": np.ones(())}]
)
def test_direction_that_comes_out_zero(weight):
    with pytest.raises(ValueError, match=r"zero everywhere.*ignore=None"):
        random_directions(new_key(), weight)


def test_biases_alone_are_a_direction_where_they_are_kept():
    weight = {"bias": np.array([1.0, 2.0], np.float32)}
    u, v = random_directions(new_key(), weight, ignore=None)
    np.testing.assert_array_equal(u["bias"], weight["bias"])
    np.testing.assert_array_equal(v["bias"], weight["bias"])


def test_zero_parameters_have_no_direction_of_their_scale():
    with pytest.raises(ValueError, match="zero everywhere"):
        random_directions(new_key(), np.zeros((3, 2)), normalization="filter")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "dfilter"}, "normalization must be one of"),
        ({"ignore": "biasbn"}, "ignore must be 'bias_and_norm' or None"),
        ({"filter_axis": 2}, r"filter_axis 2 is no axis of kernel \(3, 2\)"),
        ({"filter_axis": lambda path, leaf: -3}, "filter_axis -3 is no axis"),
        ({"num": 0}, "num must be at least 1"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        random_directions(new_key(), {"kernel": np.ones((3, 2))}, **options)


def test_direction_of_another_structure():
    with pytest.raises(ValueError, match="same structure as params"):
        normalize_direction({"a": np.ones((2, 2))}, {"b": np.ones((2, 2))})


def test_direction_of_another_shape():
    with pytest.raises(
        ValueError, match=r"direction a differs in shape.*\(2, 2\) against \(2, 3\)"
    ):
        normalize_direction({"a": np.ones((2, 2))}, {"a": np.ones((2, 3))})


def test_old_keys_are_refused():
    with pytest.raises(TypeError, match="typed key"):
        jn.landscape.random_directions(jax.random.PRNGKey(0), {"kernel": jnp.ones((3, 2))})
