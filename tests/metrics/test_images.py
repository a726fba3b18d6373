"""PSNR and SSIM against scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jaxnoise.metrics import psnr, ssim

pytestmark = pytest.mark.usefixtures("strict_promotion")

TOLERANCES = {np.float32: 1e-6, np.float64: 1e-12}


def drawn_images(dtype, data_range=1.0, kind="smooth"):
    """Two pictures (2, 20, 17, 3) and worse ones."""
    rng = np.random.default_rng(0)
    if kind == "smooth":
        reference = ndimage.gaussian_filter(rng.random((2, 20, 17, 3)), (0, 2, 2, 0))
        image = reference + 0.05 * rng.normal(size=reference.shape)
    else:  # nearly flat: variances are tiny beside the means
        reference = 1 - 1e-3 * rng.random((2, 20, 17, 3))
        image = reference - 1e-3 * rng.random(reference.shape)
    return (data_range * image).astype(dtype), (data_range * reference).astype(dtype)


def per_example(metric, image, reference, **options):
    pairs = zip(reference.astype(float), image.astype(float), strict=True)
    return [metric(r, i, **options) for r, i in pairs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_psnr(dtype, data_range, x64):
    image, reference = drawn_images(dtype, data_range)
    expected = per_example(peak_signal_noise_ratio, image, reference, data_range=data_range)
    value = psnr(image, reference, data_range=data_range)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=TOLERANCES[dtype])


@pytest.mark.parametrize("kind", ["smooth", "bright"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("window", "sample"), [("uniform", True), ("gaussian", False)])
def test_ssim(kind, dtype, window, sample, x64):
    image, reference = drawn_images(dtype, kind=kind)
    expected = per_example(
        structural_similarity,
        image,
        reference,
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=window == "gaussian",
        use_sample_covariance=sample,
    )
    value = ssim(image, reference, window=window, sample_covariance=sample)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCES[dtype])


def test_bytes_need_their_range():
    image, reference = (np.clip(255 * x, 0, 255).astype(np.uint8) for x in drawn_images(float))
    gray = image[..., 0], reference[..., 0]
    for ours, theirs in ((psnr, peak_signal_noise_ratio), (ssim, structural_similarity)):
        expected = per_example(theirs, *gray, data_range=255)
        np.testing.assert_allclose(ours(*gray, data_range=255), expected, rtol=1e-6)
        with pytest.raises(ValueError, match="uint8 numbers: give their data_range, such as 255"):
            ours(*gray)


def test_identical_images():
    _, reference = drawn_images(np.float32)
    assert np.isposinf(psnr(reference, reference)).all()
    np.testing.assert_array_equal(ssim(reference, reference), [1, 1])


def test_low_precision_is_computed_in_single(compilations):
    image, reference = (jnp.asarray(x, jnp.bfloat16) for x in drawn_images(np.float32))
    wide = image.astype(jnp.float32), reference.astype(jnp.float32)
    for metric in (psnr, ssim):
        np.testing.assert_array_equal(metric(image, reference), metric(*wide))
    assert compilations(lambda: ssim(image, reference, data_range=0.9)) == 0


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_under_jit_the_range_may_be_traced(metric):
    image, reference = drawn_images(np.float32)
    traced = jax.jit(lambda image, reference, r: metric(image, reference, data_range=r))
    expected = metric(image, reference, data_range=0.5)
    np.testing.assert_allclose(traced(image, reference, 0.5), expected, rtol=1e-6)


IMAGE = np.ones((1, 12, 12, 1), np.float32)


@pytest.mark.parametrize(
    ("metric", "arguments", "options", "message"),
    [
        (psnr, (IMAGE, IMAGE[0]), {}, "one shape"),
        (ssim, (IMAGE[0, 0], IMAGE[0, 0]), {}, r"\(B, H, W, C\) or \(B, H, W\)"),
        (psnr, (IMAGE[:0], IMAGE[:0]), {}, "with pixels"),
        (psnr, (IMAGE, IMAGE), {"data_range": 0}, "data_range must be positive"),
        (ssim, (IMAGE, IMAGE), {"data_range": np.nan}, "data_range must be positive"),
        (ssim, (IMAGE, IMAGE), {"window": "box"}, "window must be"),
        (ssim, (IMAGE[:, :6], IMAGE[:, :6]), {}, "at least 7×7 pixels"),
        (ssim, (IMAGE[:, :10],) * 2, {"window": "gaussian"}, "at least 11×11 pixels"),
    ],
)
def test_wrong_arguments_are_named(metric, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments, **options)
