"""Sliding windows against loops over windows in NumPy, and against stored results."""

import itertools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxnoise.volumes import sliding_window

STORED = Path(__file__).parents[1] / "fixtures" / "volumes" / "sliding_window_40x33x64.npz"


def slow_sliding_window(network, volume, window, stride, padding):
    """Pads, cuts, applies and puts together, window by window."""
    margin = (window - stride) // 2
    mode = {"mode": "constant" if padding == "zero" else "reflect"}
    padded = np.pad(volume, [(0, -length % stride) for length in volume.shape], **mode)
    padded = np.pad(padded, margin, **mode)
    result = np.zeros([math.ceil(length / stride) * stride for length in volume.shape])
    for corner in itertools.product(*(range(0, length, stride) for length in volume.shape)):
        cut = padded[tuple(slice(start, start + window) for start in corner)]
        middle = network(cut)[(slice(margin, margin + stride),) * 3]
        result[tuple(slice(start, start + stride) for start in corner)] = middle
    return result[tuple(slice(length) for length in volume.shape)]


def box_mean(window, xp):
    """Mean over 3×3×3 voxels with zeros outside the window, which are its last three axes."""
    before = [(0, 0)] * (window.ndim - 3)
    padded = xp.pad(window, [*before, (1, 1), (1, 1), (1, 1)])
    depth, height, width = window.shape[-3:]
    return sum(
        padded[..., k : k + depth, j : j + height, i : i + width]
        for k, j, i in itertools.product(range(3), repeat=3)
    ) / 27  # fmt: skip


def networks(windows, xp=jnp):
    """One that any tiling leaves as it is, and one that tells each voxel its place."""
    local = 2 * windows + box_mean(windows, xp)
    axes = (-3, -2, -1)
    mean, largest = (f(windows, axis=axes, keepdims=True) for f in (xp.mean, xp.max))
    ramp = sum(w * n for w, n in zip((1, 2, 3), np.indices(windows.shape[-3:]), strict=True)) / 64
    return xp.stack([local, local - 0.5 * mean + 0.25 * largest + ramp], axis=-1)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_stored_results(x64, padding):
    with np.load(STORED) as stored:
        expected = np.stack([stored[f"{padding}_net{net}"] for net in "AB"], axis=-1)
        volume, step = stored["volume"], tuple(slice(None, None, s) for s in stored["step"])
    found = sliding_window(networks, jnp.asarray(volume, float), padding=padding)
    np.testing.assert_allclose(found[step], expected, rtol=0, atol=1e-9)
    assert found.shape == (*volume.shape, 2)


def some_volume(shape, dtype=np.uint8):
    return np.random.default_rng(sum(shape)).integers(0, 200, shape).astype(dtype)


CASES = [
    ((9, 5, 13), 6, 2, "zero", 4),
    ((9, 5, 13), 6, 2, "reflect", 100),
    ((1, 8, 3), 8, 4, "reflect", 1),
    ((16, 4, 4), 4, 4, "zero", 3),
]


@pytest.mark.parametrize(("shape", "window", "stride", "padding", "batch_size"), CASES)
@pytest.mark.parametrize("where", [np.asarray, jnp.asarray])
def test_host_and_device_do_what_the_loop_does(shape, window, stride, padding, batch_size, where):
    volume = some_volume(shape)
    found = sliding_window(
        networks, where(volume), window, stride, padding=padding, batch_size=batch_size
    )
    assert isinstance(found, np.ndarray if where is np.asarray else jax.Array)
    assert found.dtype == np.float32
    for channel in range(2):
        expected = slow_sliding_window(
            lambda cut, c=channel: networks(cut, np)[..., c],
            volume.astype(float),
            window,
            stride,
            padding,
        )
        np.testing.assert_allclose(found[..., channel], expected, rtol=1e-5, atol=1e-4)


def scaled(scale, windows):
    return scale * windows


def test_other_parameters_and_depths_compile_nothing_anew(compilations):
    volume = some_volume((12, 8, 8))
    once, thrice = (Partial(scaled, jnp.float32(scale)) for scale in (1, 3))

    def run(apply, volume):
        return sliding_window(apply, volume, 6, 4, batch_size=8)

    assert compilations(lambda: run(once, volume)) == 1  # three layers, two at once
    assert compilations(lambda: run(thrice, np.concatenate([volume, volume]))) == 0
    np.testing.assert_array_equal(run(thrice, volume), 3.0 * volume)


def test_channels_dtypes_and_transformations():
    volume = some_volume((5, 6, 7, 2))
    found = sliding_window(lambda w: w[..., ::-1] / 2, volume, 4, 2)
    np.testing.assert_array_equal(found, volume[..., ::-1] / 2)
    assert sliding_window(lambda w: w > 9, volume[..., 0], 4, 2).dtype == bool
    half = jnp.asarray(volume[..., 0], jnp.bfloat16)
    stack = jnp.stack([half, half + 1])
    both = jax.vmap(lambda v: sliding_window(lambda w: w + 1, v, 4, 2))(stack)
    assert both.dtype == jnp.bfloat16
    np.testing.assert_array_equal(both.astype(float), stack.astype(float) + 1)

    def total(scale):
        return jnp.sum(sliding_window(Partial(scaled, scale), volume[..., 0], 4, 2))

    np.testing.assert_allclose(jax.grad(total)(2.0), volume[..., 0].sum(), rtol=1e-6)


def test_a_mapped_file_is_read_slice_by_slice(tmp_path, monkeypatch):
    volume = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.uint8, (20, 6, 6))
    volume[...] = some_volume((20, 6, 6))
    seen = []
    take = np.take

    def watched(array, indices, *args, **options):
        assert array.base is volume or array is volume
        seen.append(len(indices))
        return take(array, indices, *args, **options)

    monkeypatch.setattr(np, "take", watched)
    found = sliding_window(lambda w: w, volume, 4, 2, batch_size=9)
    np.testing.assert_array_equal(found, volume)
    assert seen == [4] * 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"volume": np.zeros((4, 4))}, r"volume must be \(D, H, W\)"),
        ({"volume": np.zeros((0, 4, 4))}, r"volume must be \(D, H, W\)"),
        ({"stride": 3}, "stride must lie in 1…window and differ from it by an even number"),
        ({"stride": 6}, "stride must lie"),
        ({"padding": "edge"}, 'padding must be "zero" or "reflect"'),
        ({"batch_size": 0}, "batch_size must be a positive number"),
        ({"apply": lambda w: w[:, 1:]}, "apply must keep the shape of its windows"),
    ],
)
def test_what_does_not_fit(options, message):
    options = {
        "apply": lambda w: w,
        "volume": np.zeros((4, 4, 4)),
        "window": 4,
        "stride": 2,
    } | options
    with pytest.raises(ValueError, match=message):
        sliding_window(**options)
