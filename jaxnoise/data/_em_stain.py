"""How a section of synthetic neural tissue looks in the electron microscope."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ._cells import Discs, Section
from ._facade_plan import between, uniform
from ._texture import as_bytes, blur, smooth_noise, uniforms

_TABLE = 61  # vesicles repeat after so many


def micrograph(
    key: Key[Array, ""],
    discs: Discs,
    section: Section,
    width: Float[Array, "H W"],
    scale: float,
) -> Array:
    """The image (H, W, 1) uint8 of a section whose membranes have this half width."""
    keys = jax.random.split(key, 4)
    tissue = _cytoplasm(keys[0], discs, section, scale)
    tissue = _mitochondria(keys[1], discs, section, tissue, scale)
    tissue = _membranes(keys[2], section, width, tissue, scale)
    return _microscope(keys[3], tissue, scale)[..., None]


def _cytoplasm(
    key: Key[Array, ""], discs: Discs, section: Section, scale: float
) -> Float[Array, "H W"]:
    """Gray that differs from cell to cell, with grains, vesicles and larger rings."""
    noise_key, draw_key = jax.random.split(key)
    size, table = section.cell.shape[0], (5, _TABLE, _TABLE)
    shade, grains, lumps = smooth_noise(noise_key, size, [45 * scale, 3.2 * scale, 9 * scale])
    per_cell, vesicles, bodies = uniforms(draw_key, (3, len(discs.radius)), table, table)
    gray, rough, full = per_cell[:, section.cell]
    vesicles = _rings(vesicles, section.place, 12.0, (2.8, 4.2), full - 0.15)
    bodies = _rings(bodies, section.place, 34.0, (6.0, 11.0), 0.08)
    texture = (0.6 + 0.8 * rough) * (20 * grains + 12 * lumps)
    return 136 + 30 * gray + 8 * shade + texture - 85 * vesicles - 70 * bodies


def _rings(
    chance: Float[Array, "5 T T"],
    place: Float[Array, "H W 2"],
    pitch: float,
    radii: tuple[float, float],
    share: Float[Array, "H W"] | float,
) -> Float[Array, "H W"]:
    """Dark rings, at most one in each square of side pitch, in this share of them."""
    at = place / pitch
    square = jnp.floor(at)
    i, j = jnp.moveaxis(square.astype(int) % _TABLE, -1, 0)
    u, v, r, there, dark = chance[:, i, j]
    low, high = radii
    radius = low + (high - low) * r
    room = 0.5 - (radius + 1.5) / pitch
    centre = 0.5 + room[..., None] * (2 * jnp.stack([u, v], -1) - 1)
    distance = pitch * jnp.linalg.norm(at - square - centre, axis=-1)
    ring = jnp.exp(-(((distance - radius) / 1.3) ** 2))
    return (there < share) * (0.4 + 0.6 * dark) * (ring - 0.15 * (distance < radius))


def _mitochondria(
    key: Key[Array, ""],
    discs: Discs,
    section: Section,
    tissue: Float[Array, "H W"],
    scale: float,
) -> Float[Array, "H W"]:
    """Adds dark ellipses with an outline and cristae in half of the larger cells."""
    noise_key, cell_key = jax.random.split(key)
    cell = section.cell
    u = iter(jax.random.uniform(cell_key, (10, len(discs.radius))))
    long = jnp.clip(discs.radius * (0.45 + 0.35 * next(u)), 9.0, 42.0)
    short = jnp.maximum(long * (0.5 + 0.4 * next(u)), 8.0)
    there = (discs.radius > 14) & (next(u) < 0.42)
    turn, way = 2 * jnp.pi * next(u), 2 * jnp.pi * next(u)
    off = 0.8 * jnp.maximum(discs.radius - long, 0) * jnp.sqrt(next(u))
    centre = discs.centre + off[:, None] * jnp.stack([jnp.cos(way), jnp.sin(way)], -1)
    ridge, gray = 0.2 + 0.8 * next(u), 72 + 24 * next(u)
    lengthwise, wave = next(u) < 0.5, 6.5 + 3 * next(u)

    offset = section.place - centre[cell]
    cos, sin = jnp.cos(turn)[cell], jnp.sin(turn)[cell]
    p = cos * offset[..., 0] + sin * offset[..., 1]
    q = cos * offset[..., 1] - sin * offset[..., 0]
    lumps, grain = smooth_noise(noise_key, cell.shape[0], [14 * scale, 3.5 * scale])
    inside = (1 - jnp.hypot(p / long[cell], q / short[cell])) * short[cell] + 0.9 * lumps
    phase = jnp.where(lengthwise[cell], q, p) + 1.6 * lumps
    cristae = jnp.sin(2 * jnp.pi * phase / wave[cell]) * ridge[cell] * jax.nn.sigmoid(inside - 4)
    body = gray[cell] + 28 * cristae + 9 * grain
    body = body - 42 * jnp.exp(-(((inside - 1.2) / 1.7) ** 2))
    cover = there[cell] * jax.nn.sigmoid(2.0 * inside)
    return tissue + cover * (body - tissue)


def _membranes(
    key: Key[Array, ""],
    section: Section,
    width: Float[Array, "H W"],
    tissue: Float[Array, "H W"],
    scale: float,
) -> Float[Array, "H W"]:
    """Darkens the borders: sharp where cut at a right angle, broad and pale where cut obliquely."""
    stain, dense, ink = smooth_noise(key, tissue.shape[0], [30 * scale, 55 * scale, 5 * scale])
    spread = jnp.hypot(0.67 * width, 0.3 / scale)
    pale = jnp.clip(3.3 / jnp.maximum(width, 2.0), 0.0, 1.0) ** 0.6
    line = jnp.exp(-((section.depth / spread) ** 2)) * pale * jnp.clip(1 + 0.16 * stain, 0.35, 1.1)
    smudge = jnp.clip(1.3 * (dense - 1.4), 0, 0.9) * jnp.exp(-section.depth / 11)
    dark = 1 - (1 - 0.9 * line) * (1 - smudge)
    return tissue + dark * (38 + 9 * ink - tissue)


def _microscope(
    key: Key[Array, ""], tissue: Float[Array, "H W"], scale: float
) -> Float[Array, "H W"]:
    """Focus, uneven brightness, contrast and noise."""
    key, noise_key, shade_key = jax.random.split(key, 3)
    u = functools.partial(between, uniform(key))
    image = blur(tissue, jnp.maximum(u(0.7, 1.0) * scale, 0.3), 2)
    noise = jax.random.normal(noise_key, image.shape)
    image = image + blur(noise, 0.55, 1) * u(17.0, 23.0) * (0.35 + 0.65 * scale)
    shade = u(4.0, 9.0) * smooth_noise(shade_key, len(image), [160 * scale])[0]
    return as_bytes((image - 128) * u(0.98, 1.22) + 128 + u(-12, 10) + shade)
