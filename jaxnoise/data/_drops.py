"""Where water stands on a pane: drops of random size that merge and run."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from ._texture import smooth_noise, uniforms

_REACH = 1.5  # radii from the middle of a drop to where its bump ends
_LEVEL = (1 - _REACH**-2) ** 2  # of a bump one radius from the middle


class Water(NamedTuple):
    """What each pixel of a pane needs to know; lengths in pixels, vectors down and right."""

    depth: Float[Array, "H W"]  # distance from the drop's edge, negative outside
    radius: Float[Array, "H W"]  # of the drop
    offset: Float[Array, "H W 2"]  # from the drop's middle, in radii
    source: Float[Array, "H W 2"]  # the pixel of the scene that is seen there


def wet_pane(key: Key[Array, ""], height: int, width: int, num: int) -> Water:
    """Drops where Σ_k max(0, 1 − d_k² / (1.5 r_k)²)² exceeds the value of one at d_k = r_k.

    d_k is the distance from the middle of drop k, bent a little by noise, or from the track above
    it where it has run. Middle and radius at a pixel are means weighted by these bumps, and the
    scene is seen at middle − m · offset, m a magnification that makes a drop of any size show
    about as much.
    """
    chance_key, noise_key = jax.random.split(key)
    side, longer = min(height, width), max(height, width)
    (u,) = uniforms(chance_key, (8, num))
    wave = smooth_noise(noise_key, longer, [side / 10, side / 10, side / 28, side / 28])
    wave = wave[:, :height, :width]
    bend = side * (0.006 * wave[:2] + 0.0022 * wave[2:])
    grid = jnp.meshgrid(jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij")
    place = jnp.stack(grid, -1) + jnp.moveaxis(bend, 0, -1)

    radius = side * (0.011 + 0.08 * u[0] ** 3)
    centre = jnp.stack([height * u[1], width * u[2]], -1)
    run = jnp.where(u[3] < 0.12, radius * (2 + 6 * u[4]), 0.0)
    there = jnp.arange(num) < num * (0.25 + 0.75 * u[5, 0])
    squat = 0.85 + 0.25 * u[6]  # height over width

    def add(sums: tuple[Array, ...], drop: tuple[Array, ...]) -> tuple[tuple[Array, ...], None]:
        total, weighted_centre, weighted_radius = sums
        centre, radius, run, there, squat = drop
        down, right = jnp.moveaxis(place - centre, -1, 0)
        part = jnp.clip(-down / jnp.maximum(run, 1e-3), 0, 1) * (run > 0)  # up along the track
        local = radius * (1 - 0.62 * jnp.sqrt(part))
        distance = jnp.hypot((down + part * run) / squat, right)
        bump = there * jnp.clip(1 - (distance / (_REACH * local)) ** 2, 0, 1) ** 2
        middle = centre - jnp.stack([part * run, jnp.zeros_like(part)], -1)
        weighted_centre = weighted_centre + bump[..., None] * middle
        return (total + bump, weighted_centre, weighted_radius + bump * local), None

    zero = jnp.zeros((height, width))
    drops = (centre, radius, run, there, squat)
    sums, _ = lax.scan(add, (zero, jnp.zeros((height, width, 2)), zero), drops)
    total, weighted_centre, weighted_radius = sums
    share = jnp.maximum(total, 1e-6)
    local = jnp.maximum(weighted_radius / share, 1.0)
    away = place - weighted_centre / share[..., None]
    offset = away / local[..., None]
    bulge = 0.3 * side * (0.7 + 0.5 * jnp.clip((offset**2).sum(-1, keepdims=True), 0, 1.5))
    source = place - away - bulge * offset
    slope = 4 * (1 - _REACH**-2) / _REACH**2  # of a bump at its edge, times its radius
    return Water((total - _LEVEL) * local / slope, local, offset, source)
