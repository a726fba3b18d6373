"""The photograph of a synthetic retina: its background, vessels over it, then the camera."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from ._facade_plan import between, uniform
from ._texture import as_bytes, blur, smooth_noise
from ._vessel_tree import ARTERY, VEIN, Eye, Segments

_FAR = 9.0  # pixels
_FINEST = 0.17  # pixels: thinner vessels are not to be seen


def distances(segments: Segments, size: int) -> Float[Array, "2 2 H W"]:
    """For arteries and for veins, how far pixels lie from the nearest one.

    First the distance from its wall, negative inside, then that from its middle, in pixels; both
    are `_FAR` where there is none nearby, or none wide enough to be seen. A segment is looked at in
    a window around it only.
    """
    reach = math.ceil(0.026 * size) + 2
    window = 2 * reach + 1
    start, end, radius = (size * part for part in segments[:3])
    corner = jnp.floor((start + end) / 2).astype(jnp.int32)  # in an array padded by reach
    axis = jnp.arange(window) - reach + 0.5
    pixel = corner[:, None, None] + jnp.stack(jnp.meshgrid(axis, axis), -1)  # x, y
    along = (end - start)[:, None, None]
    from_start = pixel - start[:, None, None]
    part = (from_start * along).sum(-1) / jnp.maximum((along**2).sum(-1), 1e-6)
    part = jnp.clip(part, 0, 1)
    off = jnp.linalg.norm(from_start - part[..., None] * along, axis=-1)
    near, far = (radius[:, i, None, None] for i in (0, 1))
    wide = near + part * (far - near)
    there = (radius[:, 1, None, None] > _FINEST) & (off < reach - 1)
    updates = jnp.where(there[:, None], jnp.stack([off - wide, off], 1), _FAR)
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2, 3),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0, 2, 3),
    )
    at = jnp.stack([segments.kind, corner[:, 1], corner[:, 0]], -1)
    canvas = jnp.full((2, 2, size + 2 * reach, size + 2 * reach), _FAR)
    filled = lax.scatter_min(canvas, at, updates, numbers, mode=lax.GatherScatterMode.FILL_OR_DROP)
    return filled[:, :, reach:-reach, reach:-reach]


def photograph(
    key: Key[Array, ""],
    eye: Eye,
    away: Float[Array, "2 2 H W"],
    view: Float[Array, "H W"],
) -> Array:
    """The image (H, W, 3) uint8 of an eye with vessels so far away, inside the view (0 … 1)."""
    retina_key, vessel_key, camera_key = jax.random.split(key, 3)
    scene = _retina(retina_key, eye, view.shape[0])
    scene = scene * _through_vessels(vessel_key, away)
    return _camera(camera_key, scene, view)


def _retina(key: Key[Array, ""], eye: Eye, size: int) -> Float[Array, "H W 3"]:
    """Orange to red, mottled, with a bright optic disc and a dark macula."""
    key, noise_key = jax.random.split(key)
    u = functools.partial(between, uniform(key))
    bright = u(0.0, 1.0)
    red = 128 + 100 * bright + u(-14, 14)
    green = red * u(0.42, 0.66)
    base = jnp.stack([red, green, green * u(0.48, 0.68)])

    centres = (jnp.arange(size) + 0.5) / size
    x, y = centres[None], centres[:, None]
    broad, clouds, mottle, fine = smooth_noise(
        noise_key, size, [size / 3, size / 9, size / 25, size / 70]
    )
    light = 1 + 0.06 * broad + 0.016 * clouds + 0.014 * mottle + 0.015 * fine
    light = light + u(-0.25, 0.25) * (x - 0.5) + u(-0.15, 0.15) * (y - 0.5)
    light = light * (1.08 - u(0.5, 1.3) * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    pigment = 1 + (0.03 * broad + 0.015 * clouds + u(0.005, 0.03) * mottle)[..., None] * jnp.array(
        [0.4, 1.0, 1.2]
    )
    scene = base * light[..., None] * pigment

    macula = jnp.exp(-((x - eye.fovea[0]) ** 2 + (y - eye.fovea[1]) ** 2) / u(0.045, 0.07) ** 2)
    scene = scene * (1 - u(0.25, 0.45) * macula[..., None] * jnp.array([0.6, 1.0, 1.0]))

    across, down = x - eye.disc[0], y - eye.disc[1]
    radius = u(0.042, 0.054)
    rim = jnp.hypot(across, down / u(1.0, 1.15)) * (1 + 0.05 * clouds)
    disc = jax.nn.sigmoid((radius - rim) / 0.006)
    halo = jnp.exp(-((rim / (2 * radius)) ** 2))
    cup = jnp.exp(-(((across - 0.3 * eye.side * radius) ** 2 + down**2) / (0.55 * radius) ** 2))
    glow = jnp.stack([1.35, 2.1, 1.9]) * (1 + 0.25 * cup[..., None]) * (0.85 + 0.15 * u(0, 1))
    scene = scene * (1 + 0.18 * halo[..., None])
    return scene * (1 + disc[..., None] * (glow - 1))


def _through_vessels(key: Key[Array, ""], away: Float[Array, "2 2 H W"]) -> Float[Array, "H W 3"]:
    """Share of light that comes back; arteries take less, wide vessels shine in the middle."""
    u = functools.partial(between, uniform(key))
    strength = u(0.75, 1.1)
    through = jnp.ones((*away.shape[-2:], 3))
    for kind, absorbed, gloss in [
        (ARTERY, (0.06, 0.29, 0.2), 0.55),
        (VEIN, (0.15, 0.42, 0.28), 0.3),
    ]:
        wall, middle = away[kind]
        cover = jax.nn.sigmoid(-4 * wall)
        wide = jnp.clip(-1.2 * wall - 0.9, 0, 1)
        off = middle / jnp.maximum(middle - wall, 0.1)  # from the middle, in radii
        shine = gloss * wide * jnp.exp(-((2.8 * off) ** 2))
        dark = strength * cover * (1 - shine)
        through = through * (1 - dark[..., None] * jnp.array(absorbed))
    return through


def _camera(key: Key[Array, ""], scene: Float[Array, "H W 3"], view: Float[Array, "H W"]) -> Array:
    """Focus, the edge of the view and noise."""
    key, noise_key = jax.random.split(key)
    u = functools.partial(between, uniform(key))
    size = scene.shape[0]
    scene = blur(scene, jnp.maximum(u(0.7, 1.3) * size / 565, 0.2), 2)
    noise = u(1.5, 4.0) * jax.random.normal(noise_key, scene.shape)
    outside = jnp.array([6.0, 4.0, 4.0])
    return as_bytes(outside + view[..., None] * (scene + noise - outside))


def field_of_view(key: Key[Array, ""], size: int) -> tuple[Float[Array, "H W"], Bool[Array, "H W"]]:
    """A disc with a soft edge, and which pixels lie in it."""
    u = functools.partial(between, uniform(key))
    radius, x, y = u(0.465, 0.485), 0.5 + u(-0.01, 0.01), 0.5 + u(-0.01, 0.01)
    centres = (jnp.arange(size) + 0.5) / size
    inside = size * (radius - jnp.hypot(centres[None] - x, centres[:, None] - y))
    return jax.nn.sigmoid(3 * inside), inside > 0
