"""What a fluorescence microscope would show of nuclei whose voxels are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, UInt8

from .._checks import check_key, check_numbers, shown
from .._tree import is_concrete

_BRIGHTNESSES = 4096  # drawn; labels beyond begin anew
_GRAIN, _CLOUD = 3.0, 24.0  # voxels between independent values inside nuclei and of the background


def render(
    key: Key[Array, ""],
    labels: Int[Array, "D H W"],
    *,
    brightness: tuple[float, float] = (0.3, 0.9),
    texture: float = 0.2,
    blur: tuple[float, float, float] = (1.6, 0.9, 0.9),
    background: float = 0.22,
    attenuation: float = 300.0,
    photons: float = 150.0,
    noise: float = 0.015,
) -> UInt8[Array, "D H W"]:
    """Draws a volume of nuclei as a fluorescence microscope shows it.

    Every nucleus l has a brightness u_l, uniform between two bounds, and grains inside. The point
    spread, a Gaussian that is broader along the optical axis, blurs them; a cloudy background is
    added, light is lost on its way through z slices, and photons and the camera make noise:

        s = (blur ∗ u_l (1 + texture · g) + background · (1 + c/3)) · exp(−z/attenuation)
        gray level = 255 · (N(photons · s)/photons + noise · n)

    with smooth Gaussian fields g and c and white noise n of variance 1, cut off at 0 and 255. The
    number of photons is N(λ) = (√λ + n'/2)² − 1/4 with more such noise n': it has the mean λ and
    nearly the variance, λ + 1/8, of Poisson's distribution, which takes a hundred times as long to
    draw. So the labels are the exact truth of the image.

    Args:
      key: typed key; one key gives the same image each time.
      labels: of nuclei, 0 in the background, such as `random_ellipsoids` gives.
      brightness: bounds of u_l, where 1 is white.
      texture: relative standard deviation of the brightness inside a nucleus.
      blur: standard deviation of the point spread along D, H and W, voxels.
      background: mean brightness of the background.
      attenuation: slices after which the light has fallen to 1/e.
      photons: number of photons that make white; the fewer, the more noise.
      noise: standard deviation of the camera's noise, on the same scale as brightness.

    Returns:
      uint8 image of the labels' shape.

    Raises:
      TypeError: if key is no typed key or labels are no integers.
      ValueError: if labels are no volume, or a width, scale or number is out of bounds.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> shape_key, image_key = jax.random.split(jax.random.key(0))
      >>> labels = jn.volumes.random_ellipsoids(shape_key, (16, 24, 24))
      >>> image = jn.volumes.render(image_key, labels)
      >>> image.shape, image.dtype, bool(image[labels > 0].mean() > 2 * image[labels == 0].mean())
      ((16, 24, 24), dtype('uint8'), True)
    """
    check_key(key)
    check_numbers(labels, "labels")
    if not jnp.issubdtype(jnp.asarray(labels).dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got {jnp.asarray(labels).dtype}")
    for name, value, count in (("brightness", brightness, 2), ("blur", blur, 3)):
        check_numbers(value, name)
        if not hasattr(value, "__len__") or len(value) != count:
            raise ValueError(f"{name} must hold {count} numbers, got {shown(value)}")
    if jnp.ndim(labels) != 3 or not jnp.size(labels):
        raise ValueError(f"labels must be a volume (D, H, W), got shape {jnp.shape(labels)}")
    scales = {"attenuation": attenuation, "photons": photons}
    amounts = {"texture": texture, "background": background, "noise": noise}
    for name, value in (*scales.items(), *amounts.items(), *(("blur", width) for width in blur)):
        check_numbers(value, name)
        if is_concrete(value) and (not value >= 0 or (name in scales and value == 0)):
            raise ValueError(f"{name} must be {'positive' if name in scales else 'at least 0'}")
    settings = {**scales, **amounts, "brightness": tuple(brightness), "blur": tuple(blur)}
    return _render(key, labels, settings)


@jax.jit
def _render(key: Key[Array, ""], labels: Array, settings: dict) -> UInt8[Array, "D H W"]:
    brightness_key, grain_key, cloud_key, photon_key, noise_key = jax.random.split(key, 5)
    low, high = settings["brightness"]
    levels = jax.random.uniform(brightness_key, (_BRIGHTNESSES,), minval=low, maxval=high)
    level = jnp.where(labels > 0, levels[labels % _BRIGHTNESSES], 0.0)
    grains = _smooth_noise(grain_key, labels.shape, _GRAIN)
    signal = _blurred(level * (1 + settings["texture"] * grains), settings["blur"])
    clouds = _smooth_noise(cloud_key, labels.shape, _CLOUD)
    signal = jnp.maximum(signal + settings["background"] * (1 + clouds / 3), 0.0)
    passed = jnp.exp(-jnp.arange(labels.shape[0]) / settings["attenuation"])
    signal = signal * passed[:, None, None]
    photons = settings["photons"]
    wave = jnp.sqrt(photons * signal) + jax.random.normal(photon_key, labels.shape) / 2
    counted = (wave**2 - 0.25) / photons
    noise = settings["noise"] * jax.random.normal(noise_key, labels.shape)
    return jnp.round(jnp.clip(255 * (counted + noise), 0, 255)).astype(jnp.uint8)


def _smooth_noise(
    key: Key[Array, ""], shape: tuple[int, ...], period: float
) -> Float[Array, "D H W"]:
    """Gaussian noise of variance 1 with an independent value every `period` voxels."""
    knots = [max(2, round(length / period)) for length in shape]
    noise = jax.image.resize(jax.random.normal(key, knots), shape, "cubic")
    return noise / jnp.std(noise)


def _blurred(volume: Float[Array, "D H W"], widths: tuple[ArrayLike, ...]) -> Array:
    """Gaussian blur; at a border the weights that are left add up to one."""
    for axis, width in enumerate(widths):
        place = jnp.arange(volume.shape[axis])
        distance = (place[:, None] - place) / jnp.maximum(width, 1e-3)
        weights = jnp.exp(-0.5 * distance**2)
        weights = weights / weights.sum(1, keepdims=True)
        mixed = jnp.tensordot(weights, volume, (1, axis), precision="highest")
        volume = jnp.moveaxis(mixed, 0, axis)
    return volume
