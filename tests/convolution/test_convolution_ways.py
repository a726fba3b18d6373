"""Each way to compute a convolution's three maps on CPU, against XLA's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise._convolution import _cpu, _winograd, _xla
from jaxnoise._convolution._window import Window


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


@settings(max_examples=4, deadline=None, derandomize=True)
@given(three())
def test_winograd(window):
    agrees(_winograd.output, _xla.output, window, XK)
    agrees(_winograd.input, _xla.input, window, YK)
    agrees(_winograd.kernel, _xla.kernel, window, XY)


def test_winograd_rounds_as_direct_sums_do():
    window = Window((16, 16), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    rng = np.random.default_rng(0)
    shapes = (1, 16, 16, 64), (3, 3, 64, 64)
    exact = [rng.normal(size=shape) for shape in shapes]
    with jax.enable_x64(True):
        y = np.asarray(_xla.output(*map(jnp.asarray, exact), window))
    single = [jnp.asarray(a, jnp.float32) for a in exact]
    errors = [
        np.abs(np.asarray(way.output(*single, window)) - y).max() / np.abs(y).max()
        for way in (_winograd, _xla)
    ]
    assert errors[0] <= 2 * errors[1]


@pytest.mark.parametrize(
    ("window", "dtype", "channels", "expected"),
    [
        (Window((9, 9), (3, 3), (1, 1), ((1, 1),) * 2, (1, 1)), jnp.float32, 32, True),
        (Window((9, 9), (3, 3), (1, 1), ((1, 1),) * 2, (1, 1)), jnp.float32, 31, False),
        (Window((9, 9), (3, 3), (1, 1), ((1, 1),) * 2, (1, 1)), jnp.bfloat16, 32, False),
        (Window((9, 9), (3, 5), (1, 1), ((1, 1),) * 2, (1, 1)), jnp.float32, 32, False),
        (Window((9, 9), (3, 3), (1, 2), ((1, 1),) * 2, (1, 1)), jnp.float32, 32, False),
        (Window((9, 9), (3, 3), (1, 1), ((1, 1),) * 2, (2, 1)), jnp.float32, 32, False),
        (Window((9,) * 3, (3,) * 3, (1,) * 3, ((1, 1),) * 3, (1,) * 3), jnp.float64, 32, True),
    ],
)
def test_what_winograd_is_for(window, dtype, channels, expected):
    assert _winograd.suits(window, dtype, channels, 40) == expected
