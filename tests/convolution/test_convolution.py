"""The convolution against a slow loop, XLA's own, and the programs it compiles to."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnoise.models import convolution

pytestmark = pytest.mark.usefixtures("strict_promotion")

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}

# On CPU a wide map is convolved by XLA, with neighbours as features where channels are few, a
# volume as slices, a small map as a matrix product, and one of many channels by Winograd's
# algorithm for 3×3 kernels, by Fourier transforms for larger ones.
# (x shape, kernel shape, strides, padding, dilation)
WIDE = ((3, 12, 9, 3), (3, 2, 3, 4), (1, 1), [(1, 1), (0, 1)], (1, 1))
NEIGHBOURS = ((3, 12, 9, 8), (2, 3, 8, 4), (1, 1), [(1, 1), (1, 1)], (2, 1))
SMALL = ((2, 5, 5, 3), (3, 3, 3, 4), (2, 2), [(1, 1), (1, 1)], (1, 1))
WINOGRAD = ((3, 10, 9, 32), (3, 3, 32, 33), (1, 1), [(1, 1), (1, 1)], (1, 1))
FOURIER = ((6, 9, 8, 16), (5, 5, 16, 17), (1, 1), [(2, 2), (1, 3)], (1, 1))
VOLUMES = ((2, 7, 6, 5, 2), (3, 2, 3, 2, 3), (1, 1, 1), [(1, 1), (0, 1), (1, 0)], (1, 2, 1))
KINDS = {
    "wide": WIDE,
    "neighbours": NEIGHBOURS,
    "small": SMALL,
    "winograd": WINOGRAD,
    "fourier": FOURIER,
    "volumes": VOLUMES,
}
EACH = pytest.mark.parametrize("case", KINDS.values(), ids=KINDS)
MATMULS = pytest.mark.parametrize(
    "case", [SMALL, WINOGRAD, FOURIER, VOLUMES], ids=["small", "winograd", "fourier", "volumes"]
)


def bind(function, window):
    """(x, kernel) → y of one way to convolve, with a window (strides, padding, dilation)."""
    strides, padding, dilation = window

    def convolve(x, kernel, **options):
        return function(
            x,
            kernel,
            strides,
            padding,
            rhs_dilation=dilation,
            dimension_numbers=LAYOUTS[x.ndim - 2],
            **options,
        )

    return convolve


def operands(case, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in case[:2]]


def slow_convolution(x, kernel, strides, padding, dilation):
    """One output position and one kernel entry at a time, in NumPy."""
    sizes, widths = x.shape[1:-1], kernel.shape[:-2]
    reach = [(k - 1) * d + 1 for k, d in zip(widths, dilation, strict=True)]
    if padding == "SAME":
        total = [
            max(0, (-(-n // s) - 1) * s + r - n)
            for n, s, r in zip(sizes, strides, reach, strict=True)
        ]
        padding = [(t // 2, t - t // 2) for t in total]
    elif padding == "VALID":
        padding = [(0, 0)] * len(sizes)
    padded = np.pad(x, [(0, 0), *padding, (0, 0)])
    shape = [
        max(0, (n - r) // s + 1) for n, r, s in zip(padded.shape[1:-1], reach, strides, strict=True)
    ]
    y = np.zeros((len(x), *shape, kernel.shape[-1]), x.dtype)
    for position in np.ndindex(*shape):
        for offset in np.ndindex(*widths):
            at = [
                p * s + o * d
                for p, s, o, d in zip(position, strides, offset, dilation, strict=True)
            ]
            y[(slice(None), *position)] += padded[(slice(None), *at)] @ kernel[offset]
    return y


@st.composite
def cases(draw, max_spatial=3):
    """(x shape, kernel shape, strides, padding, dilation), small, of every kind."""
    spatial = draw(st.integers(1, max_spatial))

    def each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * spatial))

    sizes, widths = each(1, {1: 20, 2: 7, 3: 4}[spatial]), each(1, 3)
    pairs = st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=spatial, max_size=spatial
    )
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), pairs))
    batch, channels, features = draw(st.tuples(*[st.integers(1, 3)] * 3))
    x_shape, kernel_shape = (batch, *sizes, channels), (*widths, channels, features)
    return x_shape, kernel_shape, each(1, 3), padding, each(1, 2)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(cases())
def test_values_are_those_of_the_slow_loop(case):
    with jax.enable_x64(True):
        x, kernel = operands(case, jnp.float64)
        y = bind(convolution, case[2:])(x, kernel)
        assert y.dtype == jnp.float64
        expected = slow_convolution(np.asarray(x), np.asarray(kernel), *case[2:])
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@functools.partial(jax.jit, static_argnums=0)
def derivatives(convolve, x, kernel, dx, dkernel):
    """First and second derivatives, forward and backward, of a curved function of the output."""

    def curved(x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel)))

    gradients = jax.grad(curved, argnums=(0, 1))

    def slope(x, kernel):
        along_x, along_kernel = gradients(x, kernel)
        return jnp.sum(along_x * dx) + jnp.sum(along_kernel * dkernel)

    return {
        "jvp": jax.jvp(convolve, (x, kernel), (dx, dkernel)),
        "gradients": gradients(x, kernel),
        "forward over backward": jax.jvp(gradients, (x, kernel), (dx, dkernel))[1],
        "backward over backward": jax.grad(slope, argnums=(0, 1))(x, kernel),
    }


@pytest.mark.slow
@settings(max_examples=5, deadline=None, derandomize=True)
@given(cases(max_spatial=2))
def test_all_derivatives_are_xlas(case):
    with jax.enable_x64(True):
        at = (*operands(case, jnp.float64), *operands(case, jnp.float64, seed=1))
        ours = derivatives(bind(convolution, case[2:]), *at)
        xlas = derivatives(bind(lax.conv_general_dilated, case[2:]), *at)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11)
        jax.tree.map(close, ours, xlas)


@EACH
def test_derivatives_of_every_kind(case):
    with jax.enable_x64(True):
        at = (*operands(case, jnp.float64), *operands(case, jnp.float64, seed=1))
        ours = derivatives(bind(convolution, case[2:]), *at)
        xlas = derivatives(bind(lax.conv_general_dilated, case[2:]), *at)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-10)
        jax.tree.map(close, ours, xlas)


@EACH
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 1e-2)])
def test_precision_of_values_and_gradients(case, dtype, tolerance):
    """Errors relative to the largest entry, in the dtype of the operands."""
    x, kernel = operands(case, dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, x, kernel):
        y, vjp = jax.vjp(bind(function, case[2:]), x, kernel)
        return y, *vjp(jnp.ones_like(y))

    ours = value_and_gradients(convolution, x, kernel)
    assert {result.dtype for result in ours} == {jnp.dtype(dtype)}
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in (x, kernel)]
        exact = jax.device_get(value_and_gradients(lax.conv_general_dilated, *wide))
    for result, reference in zip(ours, exact, strict=True):
        error = np.abs(np.asarray(result, np.float64) - reference).max()
        assert error <= tolerance * np.abs(reference).max()


def test_preferred_element_type_is_that_of_the_result():
    x, kernel = operands(SMALL, jnp.bfloat16)
    convolve = bind(convolution, SMALL[2:])
    y, dy = jax.jvp(lambda x: convolve(x, kernel, preferred_element_type=jnp.float32), (x,), (x,))
    assert y.dtype == dy.dtype == jnp.float32
    np.testing.assert_array_equal(y, dy)  # the map is linear in x


@EACH
def test_integers_are_summed_in_the_preferred_type(case):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.integers(-99, 99, shape), jnp.int8) for shape in case[:2])
    ours, xlas = [
        bind(function, case[2:])(x, kernel, preferred_element_type=jnp.int32)
        for function in (convolution, lax.conv_general_dilated)
    ]
    assert ours.dtype == jnp.int32
    np.testing.assert_array_equal(ours, xlas)


@EACH
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_platforms_get_xlas_convolutions(case, platform):
    x, kernel = operands(case)

    def loss(x, kernel):
        return jnp.sum(bind(convolution, case[2:])(x, kernel) ** 2)

    grad_fn = jax.jit(jax.grad(loss, argnums=(0, 1)))
    program = jax.export.export(grad_fn, platforms=[platform])(x, kernel).mlir_module()
    assert program.count("stablehlo.convolution(") == 3
    assert "stablehlo.dot_general" not in program


@MATMULS
def test_inside_scan(case):
    x, kernel = operands(case)

    def descend(function):
        def step(kernel, scale):
            def loss(kernel):
                return jnp.mean(bind(function, case[2:])(scale * x, kernel) ** 2)

            value, gradient = jax.value_and_grad(loss)(kernel)
            return kernel - 0.1 * gradient, value

        return jax.jit(lambda k: lax.scan(step, k, jnp.array([0.5, 1.0, -1.0])))(kernel)

    for ours, xlas in zip(descend(convolution), descend(lax.conv_general_dilated), strict=True):
        np.testing.assert_allclose(ours, xlas, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@MATMULS
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=["x", "kernel", "both"])
def test_under_vmap(case, axes):
    """Over examples, as for per-example gradients, and over kernels, as for landscapes."""
    pair = operands(case)
    stacked = [
        a if axis is None else jnp.stack([a, -2 * a, a[::-1]])
        for a, axis in zip(pair, axes, strict=True)
    ]

    def loss(x, kernel):
        return jnp.sum(jnp.sin(bind(convolution, case[2:])(x, kernel)))

    grad_fn = jax.jit(jax.grad(loss, argnums=(0, 1)))
    mapped = jax.jit(jax.vmap(grad_fn, in_axes=axes))(*stacked)
    for i in range(3):
        alone = grad_fn(*[a if b is a else b[i] for a, b in zip(pair, stacked, strict=True)])
        for together, one in zip(mapped, alone, strict=True):
            np.testing.assert_allclose(together[i], one, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@MATMULS
def test_under_checkpoint(case):
    def loss(wrap, kernel):
        return jnp.sum(jnp.sin(wrap(bind(convolution, case[2:]))(x, kernel)))

    with jax.enable_x64(True):
        x, kernel = operands(case, jnp.float64)
        kept = jax.grad(functools.partial(loss, lambda f: f))(kernel)
        computed_again = jax.jit(jax.grad(functools.partial(loss, jax.checkpoint)))(kernel)
        np.testing.assert_allclose(computed_again, kept, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "options"),
    [
        ((2, 6, 6, 4), (3, 3, 2, 4), {"feature_group_count": 2}),
        ((4, 6, 6, 3), (3, 3, 3, 4), {"batch_group_count": 2}),
        ((2, 5, 5, 3), (3, 3, 3, 4), {"lhs_dilation": (2, 2)}),
        ((2, 3, 6, 6), (4, 3, 3, 3), {"dimension_numbers": None}),
        ((2, 3, 6, 6), (3, 3, 3, 4), {"dimension_numbers": ("NCHW", "HWIO", "NCHW")}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_the_fast_way_does_not_cover_is_xlas(x_shape, kernel_shape, options):
    x, kernel = operands((x_shape, kernel_shape))
    options = {"dimension_numbers": LAYOUTS[2]} | options

    def value_and_gradients(function):
        def convolve(x, kernel):
            return function(x, kernel, (2, 1), [(1, 1), (0, 1)], **options)

        y, vjp = jax.vjp(convolve, x, kernel)
        return y, *vjp(jnp.cos(y))

    ours, xlas = map(value_and_gradients, (convolution, lax.conv_general_dilated))
    jax.tree.map(np.testing.assert_array_equal, ours, xlas)


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_a_kernel_that_does_not_fit_gives_an_empty_map(strides):
    x, kernel = jnp.ones((2, 1, 4, 3)), jnp.ones((3, 3, 3, 4))
    convolve = bind(convolution, (strides, "VALID", (1, 1)))
    expected = bind(lax.conv_general_dilated, (strides, "VALID", (1, 1)))(x, kernel)
    assert convolve(x, kernel).shape == expected.shape
    assert expected.size == 0
    y, gradient = jax.value_and_grad(lambda k: convolve(x, k).sum())(kernel)
    assert y == 0
    np.testing.assert_array_equal(gradient, jnp.zeros_like(kernel))


def test_negative_padding_cuts_off():
    window = ((1, 1), [(-1, 0), (2, -1)], (1, 1))
    x, kernel = operands(((2, 7, 6, 3), (3, 3, 3, 4)))
    for ours, xlas in zip(
        derivatives(bind(convolution, window), x, kernel, x, kernel)["gradients"],
        derivatives(bind(lax.conv_general_dilated, window), x, kernel, x, kernel)["gradients"],
        strict=True,
    ):
        np.testing.assert_allclose(ours, xlas, rtol=1e-5, atol=1e-5)


def test_channels_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="feature dimension"):
        bind(convolution, WIDE[2:])(jnp.ones((2, 7, 6, 2)), jnp.ones((3, 2, 3, 4)))


def convolutions(function, *args):
    """The layouts of the convolutions in the compiled program, "b01f_01io->b01f" forward."""
    text = jax.jit(function).lower(*args).compile().as_text()
    lines = [line for line in text.splitlines() if re.search(r"= \S+ convolution\(", line)]
    return [
        re.search(r"dim_labels=([^ ,]+)", line)[1] + "".join(re.findall(r" \S*dilate=\S+", line))
        for line in lines
    ]


def training_loop(function, case):
    x, first = operands(case)
    second = jnp.ones((3, 3, first.shape[-1], 2))

    def loss(kernels):
        hidden = jnp.tanh(bind(function, case[2:])(x, kernels[0]))
        return jnp.sum(jnp.sin(bind(function, ((1, 1), "SAME", (1, 1)))(hidden, kernels[1])))

    def step(kernels, _):
        return jax.tree.map(lambda k, g: k - 0.1 * g, kernels, jax.grad(loss)(kernels)), None

    return convolutions(lambda k: lax.scan(step, k, length=3)[0], (first, second))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only XLA:CPU is slow there")
@pytest.mark.parametrize(
    ("case", "layouts"), [(WIDE, {"b01f_01io->b01f"}), (SMALL, set())], ids=["wide", "small"]
)
def test_compiled_loop_has_no_convolution_but_forward_ones(case, layouts):
    """XLA:CPU is slow in loops at gradients of convolutions, and at convolutions of small maps."""
    assert set(training_loop(convolution, case)) == layouts
    others = [x for x in training_loop(lax.conv_general_dilated, case) if x != "b01f_01io->b01f"]
    assert others, "XLA's own gradients look like forward convolutions: this test sees nothing"


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR", "REFLECT", 1])
def test_flax_layer_is_the_plain_one(padding):
    x = operands(WIDE)[0]

    @nnx.jit
    def value_and_gradients(model):
        return nnx.value_and_grad(lambda model: jnp.sum(jnp.sin(model(x))))(model)

    plain, fast = [
        value_and_gradients(
            nnx.Conv(
                3,
                4,
                (3, 3),
                strides=2,
                kernel_dilation=2,
                padding=padding,
                rngs=nnx.Rngs(0),
                **given,
            )
        )
        for given in ({}, {"conv_general_dilated": convolution})
    ]
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(fast), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 6, 3), (2, 2, 7, 6, 3)], ids=["no batch", "two batch axes"])
def test_flax_layer_with_other_batch_axes(shape):
    x = operands((shape, ()))[0]
    plain = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
    fast = nnx.Conv(3, 4, (3, 3), conv_general_dilated=convolution, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(fast(x), plain(x), rtol=1e-5, atol=1e-5)


@MATMULS
def test_inside_shard_map(case):
    """There XLA's own is used, which knows how arrays are spread over devices."""
    x, kernel = operands(case)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def loss(x, kernel):
        return jnp.sum(jnp.sin(bind(convolution, case[2:])(x, kernel)))[None]

    spec = jax.sharding.PartitionSpec
    sharded = jax.shard_map(
        loss, mesh=mesh, in_specs=(spec("data"), spec()), out_specs=spec("data")
    )
    ours = jax.jit(jax.grad(lambda k: sharded(x, k).sum()))(kernel)
    alone = jax.jit(jax.grad(lambda k: loss(x, k).sum()))(kernel)
    np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-3)


def test_operands_of_two_dtypes_are_refused():
    with pytest.raises(TypeError, match="dtype"):
        bind(convolution, WIDE[2:])(jnp.ones(WIDE[0], jnp.bfloat16), jnp.ones(WIDE[1], jnp.float32))


def test_a_second_call_compiles_nothing(caplog):
    x, kernel = operands(WIDE)
    convolve = bind(convolution, WIDE[2:])
    convolve(x, kernel)
    with jax.log_compiles():
        convolve(x, kernel)
    assert "convolution_map" not in caplog.text
    assert "Compiling" not in caplog.text
