"""Each way to compute a convolution's three maps on CPU, against XLA's own."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from jaxnoise._convolution import (
    _blocks,
    _cpu,
    _fourier,
    _neighbours,
    _winograd,
    _xla,
    patch_products,
)
from jaxnoise._convolution._gram import work_of_patch_products
from jaxnoise._convolution._patches import patches
from jaxnoise._convolution._window import Window

pytestmark = pytest.mark.usefixtures("strict_promotion")


@st.composite
def windows(draw, spatial=(1, 2, 3), kernel=(1, 3), max_stride=3, max_dilation=2):
    """Windows with at least one output position, negative padding among them."""
    dimensions = draw(st.sampled_from(spatial))

    def each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * dimensions))

    kernels, strides, dilation = each(*kernel), each(1, max_stride), each(1, max_dilation)
    low, high = each(-1, 3), each(-1, 3)
    reach = [(k - 1) * d + 1 for k, d in zip(kernels, dilation, strict=True)]
    smallest = [max(1, r - a - b) for r, a, b in zip(reach, low, high, strict=True)]
    size = tuple(n + extra for n, extra in zip(smallest, each(0, 5), strict=True))
    return Window(size, kernels, strides, tuple(zip(low, high, strict=True)), dilation)


dense = functools.partial(windows, max_stride=1)
three = functools.partial(dense, spatial=(2, 3), kernel=(3, 3), max_dilation=1)


def square(size, kernel, spatial=2):
    """The window of a dense kernel of odd size that keeps the maps' size."""
    each = (1,) * spatial
    margin = (kernel // 2, kernel // 2)
    return Window((size,) * spatial, (kernel,) * spatial, each, (margin,) * spatial, each)


def arrays(window, channels=3):
    """Images, a kernel and outputs of two examples and four features."""
    rng = np.random.default_rng(0)
    shapes = [(2, *window.size, channels), (*window.kernel, channels, 4), (2, *window.positions, 4)]
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def agrees(way, reference, window, which, channels=3):
    with jax.enable_x64(True):
        operands = [arrays(window, channels)[i] for i in which]
        ours = jax.jit(way, static_argnames="window")(*operands, window=window)
        xlas = jax.jit(reference, static_argnames="window")(*operands, window=window)
        assert ours.dtype == jnp.float64
        np.testing.assert_allclose(ours, xlas, rtol=1e-11, atol=1e-11)


XK, YK, XY = (0, 1), (2, 1), (0, 2)
ANY = pytest.mark.parametrize(
    ("way", "size"),
    [(_winograd, 3), (_fourier, 5), (_neighbours, 3)],
    ids=["winograd", "fourier", "neighbours"],
)
slowly = settings(max_examples=8, deadline=None, derandomize=True)


@slowly
@given(windows())
def test_patches(window):
    assert _cpu._suits_patches(window, 2) or window.num_positions > 100
    agrees(_cpu.output, _xla.output, window, XK)
    agrees(_cpu.input, _xla.input, window, YK)
    agrees(_cpu.kernel, _xla.kernel, window, XY)


@slowly
@given(dense(spatial=(2, 3)))
def test_slices(window):
    agrees(_cpu._output_of_slices, _xla.output, window, XK)
    agrees(_cpu._kernel_of_slices, _xla.kernel, window, XY)
    agrees(_cpu._kernel_of_slices, _xla.kernel, window, XY, channels=5)


@slowly
@given(dense())
def test_flipped_kernel(window):
    """The adjoint window, on which the input gradients of dense convolutions stand."""

    def by_flipped_kernel(y, kernel, window):
        flipped = jnp.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
        return _xla.output(y, flipped, window.adjoint())

    agrees(by_flipped_kernel, _xla.input, window, YK)


@slowly
@given(dense())
def test_kernel_in_forward_layout(window):
    agrees(_cpu._forward_kernel, _xla.kernel, window, XY)


@slowly
@given(dense(kernel=(1, 5), max_dilation=1))
def test_neighbours(window):
    """Eight of four features each, so that most widths aren't multiples."""
    agrees(_neighbours.output, _xla.output, window, XK)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(three())
def test_winograd(window):
    agrees(_winograd.output, _xla.output, window, XK)
    agrees(_winograd.input, _xla.input, window, YK)
    agrees(_winograd.kernel, _xla.kernel, window, XY)


@pytest.mark.parametrize("entries", [1, 256, 1024], ids="{} entries".format)
@pytest.mark.parametrize(
    "window",
    [
        Window((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
        Window((13, 4), (3, 3), (1, 1), ((-1, 3), (2, 0)), (1, 1)),
        Window((9, 4, 5), (3, 3, 3), (1, 1, 1), ((2, 1), (1, 1), (0, 1)), (1, 1, 1)),
    ],
    ids=["6×5", "13×4", "9×4×5"],
)
def test_winograd_in_blocks(monkeypatch, window, entries):
    """Where a block has two rows of an example, more of them, or an example and more."""
    monkeypatch.setattr(_winograd, "_BLOCK", entries)
    monkeypatch.setattr(_winograd, "_OUTPUTS_PER_CHANNEL", 0)

    def own(function):  # isn't taken for what was compiled with other blocks
        return functools.partial(function)

    agrees(own(_winograd.output), _xla.output, window, XK)
    agrees(own(_winograd.input), _xla.input, window, YK)
    agrees(own(_winograd.kernel), _xla.kernel, window, XY)


@settings(deadline=None)
@given(dense(kernel=(3, 3), max_dilation=1), st.integers(1, 9), st.integers(1, 400))
def test_blocks_have_about_the_size_asked_for(window, examples, outputs):
    blocks = _blocks.blocks_of(outputs, examples, window)
    first, positions = window.positions[0], window.num_positions
    two_rows = 2 * positions // first
    slab = blocks.window.num_positions
    assert slab <= max(positions, two_rows)
    assert slab < outputs + two_rows or first <= 2
    assert blocks.size * slab < outputs + 2 * slab
    assert blocks.slabs * blocks.window.positions[0] < first + 2 * blocks.slabs


@settings(max_examples=6, deadline=None, derandomize=True)
@given(dense(kernel=(3, 3), max_dilation=1), st.integers(1, 9), st.integers(1, 400))
def test_outputs_come_back_from_blocks(window, examples, outputs):
    y = np.arange(1, 1 + 2 * examples * window.num_positions, dtype=np.float32)
    y = jnp.asarray(y.reshape(examples, *window.positions, 2))
    blocks = _blocks.blocks_of(outputs, examples, window)
    parts = _blocks.outputs_in_blocks(y, blocks)
    np.testing.assert_array_equal(_blocks.outputs_from_blocks(parts, examples, blocks), y)
    assert jnp.any(parts != 0, axis=range(1, parts.ndim)).all(), "a block without examples"


@settings(max_examples=6, deadline=None, derandomize=True)
@given(dense(kernel=(1, 5)))
def test_fourier(window):
    agrees(_fourier.output, _xla.output, window, XK)
    agrees(_fourier.input, _xla.input, window, YK)
    agrees(_fourier.kernel, _xla.kernel, window, XY)


@pytest.mark.parametrize(
    ("size", "kernel", "padding"),
    [
        ((9, 7), (5, 5), ((0, 0), (0, 0))),
        ((9, 8), (5, 5), ((1, 1), (2, 2))),
        ((8, 6), (5, 5), ((3, 0), (1, 4))),
        ((6, 9), (7, 5), ((3, 3), (2, 2))),
        ((1, 2), (5, 4), ((2, 2), (1, 2))),
    ],
)
def test_fourier_is_the_correlation(size, kernel, padding):
    """Of one example, pair by pair of channel and feature."""
    window = Window(size, kernel, (1, 1), padding, (1, 1))
    with jax.enable_x64(True):
        x, k, _ = arrays(window)
        y = jax.jit(_fourier.output, static_argnames="window")(x[:1], k, window=window)
    wide = np.pad(x[0], (*padding, (0, 0)))
    for feature in range(k.shape[-1]):
        one = signal.correlate(wide, np.asarray(k)[..., feature], "valid", method="direct")
        np.testing.assert_allclose(y[0, ..., feature], one[..., 0], rtol=1e-12, atol=1e-12)


@ANY
def test_rounding_is_that_of_direct_sums(way, size):
    window = square(16, size)
    rng = np.random.default_rng(0)
    shapes = (1, 16, 16, 64), (size, size, 64, 64)
    exact = [rng.normal(size=shape) for shape in shapes]
    with jax.enable_x64(True):
        y = np.asarray(_xla.output(*map(jnp.asarray, exact), window))
    single = [jnp.asarray(a, jnp.float32) for a in exact]
    errors = [
        np.abs(np.asarray(w.output(*single, window)) - y).max() / np.abs(y).max()
        for w in (way, _xla)
    ]
    assert errors[0] <= 2 * errors[1]


@ANY
def test_outputs_that_see_only_zeros_are_zeros(way, size):
    """So that a rectifier and its derivative are the same there as after direct sums."""
    rng = np.random.default_rng(0)
    x = np.zeros((2, 12, 12, 3), np.float32)
    x[0, 4:6, 9] = rng.normal(size=(2, 3))
    kernel = jnp.asarray(rng.normal(size=(size, size, 3, 4)), jnp.float32)
    y, direct = (w.output(jnp.asarray(x), kernel, square(12, size)) for w in (way, _xla))
    np.testing.assert_array_equal(y == 0, direct == 0)


@slowly
@given(dense(kernel=(1, 5)), st.tuples(*[st.integers(1, 40)] * 3))
def test_work_counts_the_products_of_the_transforms(window, counts):
    examples, channels, features = counts
    shapes = [(examples, *window.size, channels), (*window.kernel, channels, features)]
    operands = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    program = jax.make_jaxpr(functools.partial(_fourier.output, window=window))(*operands)
    products = 0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            a = equation.invars[0].aval
            products += equation.outvars[0].aval.size * math.prod(a.shape[i] for i in contracted)
    assert _fourier._work(window, *counts) == products


@pytest.mark.parametrize(
    ("window", "dtype", "examples", "channels", "expected"),
    [
        (square(14, 5), jnp.float32, 128, 64, True),
        (square(14, 5), jnp.float64, 8, 64, True),
        (square(14, 5), jnp.bfloat16, 128, 64, False),
        (square(14, 5)._replace(strides=(2, 2)), jnp.float32, 128, 64, False),
        (square(14, 5), jnp.float32, 1, 64, False),  # the kernel's transform alone costs more
        (square(14, 5), jnp.float32, 3, 64, False),  # and takes too much memory
        (square(14, 5), jnp.float32, 128, 1, False),
        (square(64, 3), jnp.float32, 32, 16, False),
        (square(16, 3, spatial=3), jnp.float32, 16, 24, True),
        (square(1 << 20, 5, spatial=1), jnp.float32, 1, 64, False),
    ],
)
def test_what_fourier_transforms_are_for(window, dtype, examples, channels, expected):
    assert _fourier.suits(window, dtype, examples, channels, 64) == expected


@pytest.mark.parametrize(
    ("window", "dtype", "channels", "sums", "kernels"),
    [
        (square(9, 3), jnp.float32, 64, True, True),
        (square(9, 3), jnp.float32, 63, False, True),
        (square(9, 3), jnp.float32, 32, False, True),
        (square(9, 3), jnp.float32, 31, False, False),
        (square(9, 3), jnp.bfloat16, 64, False, False),
        (square(9, 3)._replace(kernel=(3, 5)), jnp.float32, 64, False, False),
        (square(9, 3)._replace(strides=(1, 2)), jnp.float32, 64, False, False),
        (square(9, 3)._replace(dilation=(2, 1)), jnp.float32, 64, False, False),
        (square(9, 3, spatial=3), jnp.float64, 32, True, True),
        (square(9, 3, spatial=3), jnp.float64, 31, False, False),
    ],
)
def test_what_winograd_is_for(window, dtype, channels, sums, kernels):
    assert _winograd.suits("output", window, dtype, channels, 80) == sums
    assert _winograd.suits("input", window, dtype, 80, channels) == sums
    assert _winograd.suits("kernel", window, dtype, channels, 80) == kernels


@pytest.mark.parametrize(
    ("window", "dtype", "channels", "features", "expected"),
    [
        (square(64, 3), jnp.float32, 8, 8, True),
        (square(64, 3), jnp.bfloat16, 8, 16, True),
        (square(64, 5, spatial=1), jnp.float64, 1, 1, True),
        (square(64, 3), jnp.float32, 8, 17, False),
        (square(64, 3), jnp.float32, 24, 8, False),
        (square(64, 3), jnp.int8, 8, 8, False),
        (square(64, 1), jnp.float32, 8, 8, False),
        (square(64, 3)._replace(dilation=(1, 2)), jnp.float32, 8, 8, False),
        (square(64, 3)._replace(strides=(2, 1)), jnp.float32, 8, 8, False),
    ],
)
def test_what_neighbours_are_for(window, dtype, channels, features, expected):
    assert _neighbours.suits(window, dtype, channels, features) == expected


# Products of patches


@settings(max_examples=8, deadline=None)
@given(windows())
def test_products_of_patches(window):
    x, y = np.random.default_rng(0).normal(size=(2, 3, 2, *window.size, 4)).astype(np.float32)
    cut = jax.jit(lambda images: patches(images, window).reshape(3, -1, 4 * window.num_offsets))
    rows = [np.asarray(cut(each.reshape(6, *window.size, 4)), np.float64) for each in (x, y)]
    products = jax.jit(patch_products, static_argnums=2)(x, y, window)
    np.testing.assert_allclose(products, rows[0] @ rows[1].swapaxes(1, 2), atol=1e-4)


def test_work_of_products_grows_as_pixels_and_channels_do():
    small, large = square(8, 3), square(16, 3)
    assert work_of_patch_products(large, 1, 4) == 16 * work_of_patch_products(small, 1, 4)
    pixels = work_of_patch_products(small, 1, 8) - work_of_patch_products(small, 1, 4)
    assert pixels == 4 * 64**2
