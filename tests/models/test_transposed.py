"""The transposed convolution against a slow loop, XLA's own and Flax's layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnoise.models import ConvTranspose, conv_transpose, convolution

PHASES = ((2, 5, 4, 3), (3, 3, 3, 4), (2, 2), [(1, 2), (1, 2)])
PIXELS = ((2, 5, 4, 3), (2, 2, 3, 4), (2, 2), "SAME")
GAPS = ((2, 5, 4, 3), (2, 1, 3, 4), (3, 2), "VALID")  # pixels that nothing falls on
DENSE = ((2, 12, 11, 3), (3, 3, 3, 4), (1, 1), "SAME")
VOLUMES = ((1, 4, 3, 3, 2), (3, 3, 3, 2, 3), (2, 2, 2), [(1, 2)] * 3)
KINDS = {"phases": PHASES, "pixels": PIXELS, "gaps": GAPS, "dense": DENSE, "volumes": VOLUMES}
each_kind = pytest.mark.parametrize("case", KINDS.values(), ids=KINDS)


def operands(case, dtype=jnp.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in case[:2]]


def slow_transposed(x, kernel, strides, padding):
    """Every pixel adds its kernel, mirrored, to the output; then the margins are cut or filled."""
    sizes, widths = x.shape[1:-1], kernel.shape[:-2]
    spread = [(n - 1) * s + k for n, s, k in zip(sizes, strides, widths, strict=True)]
    y = np.zeros((len(x), *spread, kernel.shape[-1]))
    for pixel in np.ndindex(*sizes):
        for offset in np.ndindex(*widths):
            at = [p * s + o for p, s, o in zip(pixel, strides, offset, strict=True)]
            entry = kernel[tuple(k - 1 - o for k, o in zip(widths, offset, strict=True))]
            y[(slice(None), *at)] += x[(slice(None), *pixel)] @ entry
    for axis, ((low, high), k) in enumerate(zip(padding, widths, strict=True), start=1):
        margins = [(0, 0)] * y.ndim
        margins[axis] = (max(0, low - k + 1), max(0, high - k + 1))
        y = np.pad(y, margins)
        start, stop = max(0, k - 1 - low), y.shape[axis] - max(0, k - 1 - high)
        y = np.take(y, range(start, stop), axis=axis)
    return y


@st.composite
def cases(draw):
    spatial = draw(st.integers(1, 3))

    def each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * spatial))

    kernel, strides = each(1, 4), each(1, 3)
    pairs = [(draw(st.integers(0, k)), draw(st.integers(0, k + 1))) for k in kernel]
    size = tuple(n + 2 for n in each(0, 3))
    shapes = (2, *size, 2), (*kernel, 2, 3)
    return *shapes, strides, draw(st.sampled_from(["SAME", "VALID", pairs])), each(1, 2)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(cases())
def test_values_are_those_of_the_slow_loop(case):
    *shapes, strides, padding, _ = case
    assume(not isinstance(padding, str))
    with jax.enable_x64(True):
        x, kernel = operands(shapes)
        expected = slow_transposed(np.asarray(x), np.asarray(kernel), strides, padding)
        y = conv_transpose(x, kernel, strides, padding)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def with_derivatives(function, strides, padding, dilation, x, kernel, dx, dkernel):
    def transposed(x, kernel):
        padded = padding if isinstance(padding, str) else list(padding)
        return function(x, kernel, strides, padded, rhs_dilation=dilation)

    def curved(x, kernel):
        return jnp.sum(jnp.sin(transposed(x, kernel)))

    gradients = jax.grad(curved, argnums=(0, 1))
    return {
        "jvp": jax.jvp(transposed, (x, kernel), (dx, dkernel)),
        "gradients": gradients(x, kernel),
        "second derivatives": jax.jvp(gradients, (x, kernel), (dx, dkernel))[1],
    }


@settings(max_examples=4, deadline=None, derandomize=True)
@given(cases())
def test_values_and_derivatives_are_xlas(case):
    *shapes, strides, padding, dilation = case
    padding = padding if isinstance(padding, str) else tuple(padding)
    with jax.enable_x64(True):
        at = (*operands(shapes), *operands(shapes, seed=1))
        ours, xlas = [
            with_derivatives(function, strides, padding, dilation, *at)
            for function in (conv_transpose, lax.conv_transpose)
        ]
        close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11)
        jax.tree.map(close, ours, xlas)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 1e-2)])
@each_kind
def test_precision_of_values_and_gradients(case, dtype, tolerance):
    x, kernel = operands(case, dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, x, kernel):
        y, vjp = jax.vjp(lambda x, k: function(x, k, *case[2:]), x, kernel)
        return y, *vjp(jnp.ones_like(y))

    ours = value_and_gradients(conv_transpose, x, kernel)
    assert {result.dtype for result in ours} == {jnp.dtype(dtype)}
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in (x, kernel)]
        exact = jax.device_get(value_and_gradients(lax.conv_transpose, *wide))
    for result, reference in zip(ours, exact, strict=True):
        error = np.abs(np.asarray(result, np.float64) - reference).max()
        assert error <= tolerance * np.abs(reference).max()


@each_kind
def test_inside_scan_vmap_and_checkpoint(case):
    with jax.enable_x64(True):
        x, kernel = operands(case)

        def gradient(function, kernel):
            @jax.checkpoint
            def loss(kernel, scale):
                y = jax.vmap(lambda x: function(x[None], kernel, *case[2:]))(scale * x)
                return jnp.sum(jnp.sin(y))

            def step(total, scale):
                return total + jax.grad(loss)(kernel, scale), None

            return lax.scan(step, jnp.zeros_like(kernel), jnp.array([0.5, -1.0]))[0]

        stacked = jnp.stack([kernel, -2 * kernel])
        ours, xlas = [
            jax.jit(jax.vmap(functools.partial(gradient, function)))(stacked)
            for function in (conv_transpose, lax.conv_transpose)
        ]
        np.testing.assert_allclose(ours, xlas, rtol=1e-11, atol=1e-11)


def test_transposed_kernel_makes_it_the_gradient_of_the_convolution():
    """With strides that divide the image, as `torch.nn.ConvTranspose2d` defines it."""
    numbers = ("NHWC", "HWIO", "NHWC")
    with jax.enable_x64(True):
        y, kernel = operands(((2, 4, 3, 5), (3, 2, 4, 5)))
        images = jnp.zeros((2, 8, 6, 4))
        _, vjp = jax.vjp(
            lambda x: convolution(x, kernel, (2, 2), "SAME", None, None, numbers), images
        )
        x = conv_transpose(y, kernel, (2, 2), "SAME", transpose_kernel=True)
        np.testing.assert_allclose(x, vjp(y)[0], rtol=1e-12, atol=1e-12)


def test_other_layouts_are_xlas():
    x, kernel = operands(((2, 3, 5, 5), (3, 3, 3, 4)), jnp.float32)
    ours, xlas = [
        function(x, kernel, (2, 2), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW"))
        for function in (conv_transpose, lax.conv_transpose)
    ]
    np.testing.assert_array_equal(ours, xlas)


def test_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'SAME', 'VALID' or pairs, got 'FULL'"):
        conv_transpose(jnp.ones((1, 4, 4, 2)), jnp.ones((2, 2, 2, 3)), (2, 2), "FULL")


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only XLA:CPU is slow there")
@each_kind
def test_no_image_is_spread_with_zeros(case):
    x, kernel = operands(case, jnp.float32)

    def loss(x, kernel):
        return jnp.sum(jnp.sin(conv_transpose(x, kernel, *case[2:])))

    program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x, kernel).compile().as_text()
    assert "lhs_dilate" not in program


@pytest.mark.parametrize(
    "options",
    [
        {"strides": 2},
        {"strides": (2, 1), "padding": "VALID", "use_bias": False},
        {"strides": (2, 3), "padding": [(1, 2), 1]},
        {"padding": 1, "kernel_dilation": 2},
        {"strides": 2, "padding": "CIRCULAR"},
        {"strides": 2, "transpose_kernel": True},
        {"strides": 2, "dtype": jnp.bfloat16},
        {"strides": 2, "mask": np.tri(9)[:3, :3, None, None] * np.ones((3, 4))},
    ],
    ids=str,
)
def test_layer_is_that_of_flax(options):
    x = operands(((2, 5, 4, 3), ()), jnp.float32)[0]
    plain, fast = [
        layer(3, 4, (3, 3), rngs=nnx.Rngs(0), **options)
        for layer in (nnx.ConvTranspose, ConvTranspose)
    ]
    expected = plain(x)
    assert fast(x).dtype == expected.dtype
    tolerance = 1e-5 if expected.dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(
        np.asarray(fast(x), np.float32),
        np.asarray(expected, np.float32),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 2, 5, 4, 3)], ids=["no batch", "two batch axes"])
def test_layer_with_other_batch_axes(shape):
    x = operands((shape, ()), jnp.float32)[0]
    plain, fast = [
        layer(3, 4, (3, 3), strides=(2, 2), rngs=nnx.Rngs(0))
        for layer in (nnx.ConvTranspose, ConvTranspose)
    ]
    np.testing.assert_allclose(fast(x), plain(x), rtol=1e-5, atol=1e-5)
