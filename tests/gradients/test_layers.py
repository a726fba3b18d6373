"""Every kind of layer: each way to its norms is held against the materialised gradients."""

import contextlib
import functools

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxnoise import models
from jaxnoise.gradients import _reduce, _rows
from jaxnoise.gradients._lookups import Lookups, lookups
from jaxnoise.gradients._per_example import example_gradients
from jaxnoise.gradients._taps import taps_of
from jaxnoise.models._blocks import conv, double

WAYS = {
    "unformed": {"number": np.inf, "lookups": True},
    "one by one": {"number": -np.inf, "lookups": False},
    "at once": {"number": -np.inf, "lookups": False, "at_once": 2**62},
}


@contextlib.contextmanager
def forced(number, lookups, at_once=0):
    """All gradients that can be are left unformed, one example after another, or none is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "_NUMBER", number)
        patch.setattr(_rows, "_BLOCK", 1)
        patch.setattr(Lookups, "suits", lambda *_: lookups)
        patch.setattr(_reduce, "_AT_ONCE", at_once)
        yield


@functools.partial(jax.jit, static_argnames="ways")
def passes(loss_fn, params, other, center, weights, data, ways):
    """What is to be tested, each way, and the gradients at both parameters."""
    taps, ours = taps_of(loss_fn, params, data), {}
    records = {id(w): taps.record(w, data) for w in (params, other)}
    taps.record = lambda w, _: records[id(w)]  # compiled once for all ways
    reduce = functools.partial(_reduce.reduce_gradients, taps, params, data)
    for way in ways:
        with forced(**WAYS[way]):
            norms, sums = reduce(weights=weights)
            ours[way] = {
                "norms": norms,
                "sums": sums,
                "distances": reduce(center=center)[0],
                "differences": reduce(minus=other)[0],
            }
    return ours, [example_gradients(loss_fn, w, data) for w in (params, other)]


def slow_reductions(gradients, other, center, weights):
    g, h, c = (
        [np.asarray(x, np.float64) for x in jax.tree.leaves(t)] for t in (gradients, other, center)
    )

    def norms(leaves):
        return [np.sum(x.reshape(len(x), -1) ** 2, axis=1) for x in leaves]

    return {
        "norms": norms(g),
        "sums": [np.tensordot(weights, x, 1) for x in g],
        "distances": norms([x - y for x, y in zip(g, c, strict=True)]),
        "differences": norms([x - y for x, y in zip(g, h, strict=True)]),
    }


def assert_agreement(loss_fn, params, data, *, rtol, ways=tuple(WAYS)):
    """All that `reduce_gradients` gives, leaf by leaf, at random other parameters and center."""
    rng = np.random.default_rng(5)

    def away(size):
        return jax.tree.map(
            lambda w: w + jnp.asarray(size * rng.normal(size=w.shape), w.dtype), params
        )

    other, center = away(0.3), away(1)
    weights = rng.uniform(size=len(jax.tree.leaves(data)[0]))
    loss_fn = jax.tree_util.Partial(loss_fn)
    ours, gradients = passes(loss_fn, params, other, center, weights, data, ways)
    expected = slow_reductions(*gradients, center, weights)
    assert any(np.any(norms > 0) for norms in expected["norms"])
    for way in ways:
        for quantity, leaves in expected.items():
            for mine, twin in zip(ours[way][quantity], leaves, strict=True):
                scale = np.abs(twin).max(initial=0)
                np.testing.assert_allclose(
                    mine, twin, rtol=rtol, atol=rtol * scale, err_msg=f"{way}: {quantity}"
                )


def drawn(make):
    """The model that `make()` gives, with random numbers for all its floating arrays."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        values = rng.normal(size=leaf.shape)
        return jnp.asarray(np.exp(values) if path[-1] == "var" else values / 2, leaf.dtype)

    graphdef, state = nnx.split(nnx.eval_shape(make))
    flat = {path: draw(path, leaf) for path, leaf in nnx.to_flat_state(nnx.as_pure(state))}
    return nnx.merge(graphdef, nnx.from_flat_state(flat))


class Tied(nnx.Module):
    """Tokens in and scores of all tokens out, with one table."""

    def __init__(self, **options):
        self.embed = nnx.Embed(5, 3, **options)

    def __call__(self, tokens):
        return self.embed.attend(jnp.cumsum(self.embed(tokens), axis=1))


def sines(outputs, batch):
    """A loss whose derivatives differ from output to output."""
    y = outputs.reshape(len(outputs), -1)
    return jnp.sum(jnp.sin(y + jnp.arange(y.shape[1])), axis=1)


PIXELS = (5, 6, 2)
MASK = np.arange(54).reshape(3, 3, 2, 3) % 4 > 0
CASES = {
    "Linear": (lambda **o: nnx.Linear(4, 3, **o), (4,)),
    "Linear at 5 positions": (lambda **o: nnx.Linear(4, 3, **o), (5, 4)),
    "Linear without bias": (lambda **o: nnx.Linear(4, 3, use_bias=False, **o), (2, 3, 4)),
    "LinearGeneral": (lambda **o: nnx.LinearGeneral((2, 3), (4, 2), axis=(-3, -1), **o), (2, 4, 3)),
    "Einsum": (lambda **o: nnx.Einsum("btd,hdk->bhtk", (2, 4, 3), (2, 1, 3), **o), (3, 4)),
    "Einsum, kernel first": (lambda **o: nnx.Einsum("btd,dk->bkt", (4, 3), **o), (5, 4)),
    "Einsum, own axes": (lambda **o: nnx.Einsum("bhd,hdk->bhk", (3, 4, 2), **o), (3, 4)),
    "Conv 1-D, causal": (lambda **o: nnx.Conv(2, 3, 3, padding="CAUSAL", **o), (7, 2)),
    "Conv, stride": (lambda **o: nnx.Conv(2, 3, (3, 2), strides=(2, 1), **o), PIXELS),
    "Conv, dilation": (lambda **o: nnx.Conv(2, 3, (3, 2), kernel_dilation=2, **o), PIXELS),
    "Conv, VALID": (lambda **o: nnx.Conv(2, 3, (3, 3), padding="VALID", **o), PIXELS),
    "Conv, CIRCULAR": (lambda **o: nnx.Conv(2, 3, (3, 3), padding="CIRCULAR", **o), PIXELS),
    "Conv, cut off": (
        lambda **o: nnx.Conv(2, 3, (2, 2), strides=2, padding=((-1, 2), (0, -1)), **o),
        PIXELS,
    ),
    "Conv, depthwise": (lambda **o: nnx.Conv(2, 4, (3, 3), feature_group_count=2, **o), PIXELS),
    "Conv, dilated images": (
        lambda **o: nnx.Conv(2, 3, (2, 2), padding=((1, 0), (0, 1)), input_dilation=2, **o),
        PIXELS,
    ),
    "Conv of frames": (lambda **o: nnx.Conv(2, 3, (3, 3), **o), (3, 4, 4, 2)),
    "Conv 1×1": (lambda **o: nnx.Conv(2, 3, (1, 1), use_bias=False, **o), PIXELS),
    "Conv, masked": (
        lambda **o: nnx.Conv(2, 3, (3, 3), mask=MASK, **o),
        PIXELS,
    ),
    "Conv 3-D": (lambda **o: nnx.Conv(2, 3, (2, 3, 2), strides=2, **o), (4, 4, 5, 2)),
    "ConvTranspose": (lambda **o: nnx.ConvTranspose(2, 3, (3, 3), strides=2, **o), PIXELS),
    "ConvTranspose, VALID": (
        lambda **o: nnx.ConvTranspose(2, 3, (3, 2), padding="VALID", **o),
        PIXELS,
    ),
    "ConvTranspose, CIRCULAR": (
        lambda **o: nnx.ConvTranspose(2, 3, (3, 3), strides=2, padding="CIRCULAR", **o),
        PIXELS,
    ),
    "ConvTranspose, kernel turned": (
        lambda **o: nnx.ConvTranspose(2, 3, (3, 3), strides=2, transpose_kernel=True, **o),
        PIXELS,
    ),
    "our convolution": (lambda rngs, **_: conv(2, 3, (3, 3), strides=2, rngs=rngs), PIXELS),
    "our convolution, reflect": (
        lambda rngs, **_: conv(2, 3, (3, 3), padding="reflect", rngs=rngs),
        PIXELS,
    ),
    "our transposed convolution": (lambda rngs, **_: double(2, 3, (3, 3), rngs=rngs), PIXELS),
    "our ConvTranspose": (
        lambda **o: models.ConvTranspose(2, 3, (2, 3), strides=(2, 3), **o),
        PIXELS,
    ),
    "Embed": (lambda **o: nnx.Embed(5, 3, **o), np.int32),
    "Embed, tied": (lambda **o: Tied(**o), np.int32),
    "Embed, bytes": (lambda **o: nnx.Embed(256, 3, **o), np.uint8),
    "attention": (
        lambda **o: nnx.MultiHeadAttention(2, 4, decode=False, deterministic=True, **o),
        (5, 4),
    ),
    "BatchNorm": (lambda **o: nnx.BatchNorm(2, **o), PIXELS),
    "LayerNorm": (lambda **o: nnx.LayerNorm(4, **o), (5, 4)),
    "GroupNorm": (lambda **o: nnx.GroupNorm(4, 2, **o), (5, 4)),
    "InstanceNorm": (lambda **o: nnx.InstanceNorm(2, **o), PIXELS),
    "RMSNorm": (lambda **o: nnx.RMSNorm(4, **o), (5, 4)),
    "PReLU": (lambda param_dtype, **_: nnx.PReLU(param_dtype=param_dtype), (4,)),
    "LoRA": (lambda **o: nnx.LoRALinear(4, 3, lora_rank=2, **o), (5, 4)),
    "LSTM": (lambda **o: nnx.RNN(nnx.OptimizedLSTMCell(3, 2, **o)), (4, 3)),
    "GRU": (lambda **o: nnx.RNN(nnx.GRUCell(3, 2, **o)), (4, 3)),
}


def layer_case(name, dtype):
    make, shape = CASES[name]
    model = drawn(lambda: make(param_dtype=dtype, rngs=nnx.Rngs(0)))
    params, loss_fn = models.split(model, sines, lambda batch: batch["x"])
    params, loss_fn = jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, (params, loss_fn)
    )
    rng = np.random.default_rng(1)
    if isinstance(shape, tuple):
        return loss_fn, params, {"x": jnp.asarray(rng.normal(size=(3, *shape)), dtype)}
    tokens = np.array([[0, 3, 3, 1], [4, 4, 4, 4], [2, 0, 2, 0]], shape)
    return loss_fn, params, {"x": tokens if shape == np.int32 else 250 + tokens}


HALF = ["Conv of frames", "Conv, depthwise", "Embed, tied", "LayerNorm", "our ConvTranspose"]
QUICK = {
    "Linear",
    "Linear at 5 positions",
    "LinearGeneral",
    "Einsum",
    "Einsum, kernel first",
    "Einsum, own axes",
    "Conv, cut off",
    "Conv, depthwise",
    "Conv, dilated images",
    "Conv of frames",
    "our ConvTranspose",
    "Embed",
    "Embed, tied",
    "Embed, bytes",
    "BatchNorm",
    "PReLU",
}
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_double_precision(name, x64):
    assert_agreement(*layer_case(name, jnp.float64), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_single_precision(name):
    assert_agreement(*layer_case(name, jnp.float32), rtol=2e-5)


@pytest.mark.parametrize(
    "name",
    ["Linear at 5 positions", *(pytest.param(n, marks=pytest.mark.slow) for n in HALF)],
)
def test_half_precision(name):
    """Norms and sums are in single precision, of gradients that have three digits."""
    assert_agreement(*layer_case(name, jnp.bfloat16), rtol=0.05)


@pytest.mark.parametrize(
    "name", ["Linear", "Einsum", "Conv, stride", "ConvTranspose", "Conv, dilated images", "Embed"]
)
def test_no_gradient_of_these_need_be_formed(name):
    loss_fn, params, data = layer_case(name, jnp.float32)
    taps = taps_of(loss_fn, params, data)
    leaves = jax.tree.leaves(params)
    group = max(taps.groups, key=lambda group: leaves[group.params[0]].size)
    assert group.is_relabelled
    use = taps.uses[group.uses[0]]
    assert _rows.rows(use) or lookups(use)


def test_linen(x64):
    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.LayerNorm(param_dtype=float)(linen.Conv(3, (2, 2), param_dtype=float)(x))
            return linen.Dense(2, param_dtype=float)(jnp.tanh(x).mean((1, 2)))

    rng, network = np.random.default_rng(0), Network()
    x = rng.normal(size=(3, 3, 4, 2))
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda w: rng.normal(size=w.shape), shapes)
    loss_fn = lambda w, batch: sines(network.apply({"params": w}, batch["x"]), batch)  # noqa: E731
    assert_agreement(loss_fn, params, {"x": x}, rtol=1e-10)


@pytest.mark.slow
def test_equinox(x64):
    """Channels first, one example at a time, weights (out, in)."""
    keys = jax.random.split(jax.random.key(0))
    conv = equinox.nn.Conv2d(2, 3, 2, key=keys[0], dtype=float)
    dense = equinox.nn.Linear(18, 2, key=keys[1], dtype=float)
    params, static = equinox.partition((conv, dense), equinox.is_array)

    def loss_fn(params, batch):
        conv, dense = equinox.combine(params, static)
        return sines(jax.vmap(lambda x: dense(jnp.tanh(conv(x)).ravel()))(batch["x"]), batch)

    x = np.random.default_rng(0).normal(size=(3, 2, 3, 4))
    assert_agreement(loss_fn, params, {"x": x}, rtol=1e-10)
