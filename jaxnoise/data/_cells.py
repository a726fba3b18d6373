"""The plan of synthetic neural tissue: cells of very different size that fill a section."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from ._facade_plan import between, uniform
from ._texture import smooth_noise

_GAP = 2.0  # between discs, nm/4
_AREA = 420.0  # per candidate disc
_SMALLEST, _LARGEST = 7.0, 68.0  # radii
_WAVES = [(26.0, 170), (5.0, 48), (1.5, 14)]  # amplitude, period


class Discs(NamedTuple):
    """Discs around which cells grow; lengths are in pixels of 4 nm."""

    centre: Float[Array, "K 2"]
    radius: Float[Array, " K"]  # −∞ where there is none


class Section(NamedTuple):
    """What each pixel of a section needs to know."""

    place: Float[Array, "H W 2"]  # in the plane of the discs
    cell: Int[Array, "H W"]  # whose disc is nearest
    depth: Float[Array, "H W"]  # distance from the border to the next cell


def pack_discs(key: Key[Array, ""], side: float) -> Discs:
    """Discs of random size that don't overlap, in a square of this side around the origin.

    Candidates with a heavy-tailed distribution of radii, P(radius > r) ∝ 1/r², come in order of
    size; each that overlaps none before it stays.
    """
    num = int(side**2 / _AREA)
    place_key, radius_key = jax.random.split(key)
    centre = jax.random.uniform(place_key, (num, 2), minval=-side / 2, maxval=side / 2)
    share = jax.random.uniform(radius_key, (num,), minval=0.01, maxval=1.2)
    radius = -jnp.sort(-jnp.clip(_SMALLEST / jnp.sqrt(share), 5.0, _LARGEST))

    def accept(kept: Array, i: Array) -> tuple[Array, None]:
        apart = jnp.hypot(*(centre - centre[i]).T) > radius + radius[i] + _GAP
        return kept.at[i].set(jnp.all(apart | ~kept)), None

    kept, _ = lax.scan(accept, jnp.zeros(num, bool), jnp.arange(num))
    first = jnp.argsort(~kept)[: num // 3]
    return Discs(centre[first], jnp.where(kept, radius, -jnp.inf)[first])


def cut_section(key: Key[Array, ""], size: int, scale: float) -> tuple[Discs, Section]:
    """Cells over a field of size / scale pixels of 4 nm, stretched and bent.

    With centres s_k and radii r_k of the discs, pixel x at x' in their plane belongs to the cell k
    of least d_k = |x' − s_k| − r_k. To first order the border to the next cell l lies
    (d_l − d_k) / |∇(d_l − d_k)| away.
    """
    key, disc_key, wave_key = jax.random.split(key, 3)
    field = size / scale
    discs = pack_discs(disc_key, 1.35 * field + 110)
    place = _bent_plane(wave_key, size, scale)

    def nearer(best: tuple[Array, ...], k: Array) -> tuple[tuple[Array, ...], None]:
        d1, d2, first, second = best
        x, y = discs.centre[k]
        d = jnp.hypot(place[..., 0] - x, place[..., 1] - y) - discs.radius[k]
        second = jnp.where(d < d1, first, jnp.where(d < d2, k, second))
        d2 = jnp.minimum(jnp.maximum(d, d1), d2)
        return (jnp.minimum(d, d1), d2, jnp.where(d < d1, k, first), second), None

    far, none = jnp.full((size, size), jnp.inf), jnp.zeros((size, size), jnp.int32)
    count = jnp.arange(len(discs.radius), dtype=jnp.int32)
    (d1, d2, first, second), _ = lax.scan(nearer, (far, far, none, none), count)

    def away(k: Array) -> Array:
        offset = place - discs.centre[k]
        return offset / (jnp.linalg.norm(offset, axis=-1, keepdims=True) + 1e-3)

    slope = away(second) - away(first)
    rows, columns = (scale * g for g in jnp.gradient(place, axis=(0, 1)))
    steep = jnp.hypot((rows * slope).sum(-1), (columns * slope).sum(-1))
    return discs, Section(place, first, (d2 - d1) / jnp.maximum(steep, 0.3))


def _bent_plane(key: Key[Array, ""], size: int, scale: float) -> Float[Array, "H W 2"]:
    """Pixel centres, stretched along one direction and bent by waves of three lengths."""
    wave_key, turn_key = jax.random.split(key)
    axis = (jnp.arange(size) + 0.5 - size / 2) / scale
    place = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1)
    u = functools.partial(between, uniform(turn_key))
    turn, stretch = u(0, jnp.pi), u(1.0, 1.4)
    along = jnp.stack([jnp.cos(turn), jnp.sin(turn)])
    across = jnp.stack([-jnp.sin(turn), jnp.cos(turn)])
    place = (place @ along / stretch)[..., None] * along + (place @ across)[..., None] * across
    amplitudes, periods = zip(*_WAVES, strict=True)
    waves = smooth_noise(wave_key, size, 2 * [period * scale for period in periods])
    bend = jnp.tensordot(jnp.array(amplitudes), waves.reshape(2, -1, size, size), (0, 1))
    return place + jnp.moveaxis(bend, 0, -1)
