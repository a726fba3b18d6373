"""The vessels of a synthetic retina: trees that grow from the optic disc and branch twice."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from ._facade_plan import between, uniform
from ._texture import uniforms

ARTERY, VEIN = 0, 1
# One row for each vessel on the disc: angle in degrees from the direction of the macula, the one
# it bends to, length and radius in sides of the image.
_ROOTS = [
    (66, -4, 0.8, 0.0055),  # arcades above and below the macula, arteries first
    (-66, 4, 0.8, 0.0055),
    (100, -22, 0.92, 0.0075),
    (-100, 22, 0.92, 0.0075),
    (128, 135, 0.35, 0.0046),  # towards the nose
    (-128, -135, 0.35, 0.0046),
    (112, 100, 0.5, 0.0055),
    (-112, -100, 0.5, 0.0055),
    (30, 2, 0.3, 0.0030),  # towards the macula
    (-30, -2, 0.3, 0.0030),
]
_KINDS = (ARTERY, ARTERY, VEIN, VEIN, ARTERY, ARTERY, VEIN, VEIN, ARTERY, VEIN)
_STEPS = (36, 20, 12)  # along a vessel of each generation
_BRANCHES = (5, 3)  # of a vessel of the first and the second


class Eye(NamedTuple):
    """Places in units of the image's side, x to the right and y downwards."""

    disc: Float[Array, " 2"]
    fovea: Float[Array, " 2"]
    side: Array  # 1 where the macula lies right of the disc, −1 left


class Vessels(NamedTuple):
    """V vessels of S steps each; radius 0 where they have ended."""

    points: Float[Array, "V S+1 2"]
    heading: Float[Array, "V S+1"]  # radians
    radius: Float[Array, "V S+1"]
    length: Float[Array, " V"]
    kind: Int[Array, " V"]


class Segments(NamedTuple):
    """Straight pieces of vessels."""

    start: Float[Array, "K 2"]
    end: Float[Array, "K 2"]
    radius: Float[Array, "K 2"]  # at either end
    kind: Int[Array, " K"]


def draw_eye(key: Key[Array, ""]) -> Eye:
    u = functools.partial(between, uniform(key))
    side = jnp.where(u(0, 1) < 0.5, 1.0, -1.0)
    fovea = jnp.stack([0.5 + u(-0.03, 0.03), 0.5 + u(-0.03, 0.03)])
    disc = fovea + jnp.stack([-side * u(0.34, 0.39), u(-0.06, 0.01)])
    return Eye(disc, fovea, side)


def grow_vessels(key: Key[Array, ""], eye: Eye) -> Segments:
    """Arteries and veins of an eye: from the disc in arcades around the macula."""
    counts = [len(_ROOTS)]
    for branches in _BRANCHES:
        counts.append(counts[-1] * branches)
    shapes = [shape for n in counts for shape in ((5, n), (3, 2, n, 1))]
    chance, winding, *more = uniforms(key, *shapes)
    generation = _roots(chance, winding, eye)
    pieces = [generation]
    for i, steps in enumerate(_STEPS[1:]):
        generation = _branch(more[2 * i], more[2 * i + 1], eye, generation, steps)
        pieces.append(generation)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *map(_segments, pieces))


def _roots(chance: Array, winding: Array, eye: Eye) -> Vessels:
    roots, num = jnp.array(_ROOTS), len(_ROOTS)
    angle, target, length, radius = roots.T
    u, v, w, x, _ = 2 * chance - 1
    angle, target = jnp.deg2rad(angle + 10 * u), jnp.deg2rad(target + 12 * v)
    start = eye.disc + 0.012 * jnp.stack([w, u], -1)
    course = jnp.stack([angle, target, jnp.full(num, 0.24)])
    sizes = jnp.stack([length * (1 + 0.1 * v), radius * (1 + 0.15 * x)])
    return _walk(winding, eye, start, course, sizes, jnp.array(_KINDS), _STEPS[0])


def _branch(chance: Array, winding: Array, eye: Eye, parents: Vessels, steps: int) -> Vessels:
    """Lets each vessel branch at random places, by turns to its left and right."""
    num, last = parents.radius.shape[0], parents.radius.shape[1] - 1
    u, v, w, x, y = chance.reshape(5, num, -1)
    branches = u.shape[1]
    at = (jnp.arange(branches) + 0.3 + 0.65 * u) / branches  # along the parent
    place = (jnp.clip(at * last, 1, last)).astype(int)
    take = functools.partial(jnp.take_along_axis, indices=place, axis=1)
    heading, radius = take(parents.heading), take(parents.radius)
    start = jnp.take_along_axis(parents.points, place[..., None], axis=1)
    way = jnp.where((jnp.arange(branches) % 2 == 0) ^ (v[:, :1] < 0.5), 1.0, -1.0)
    angle = heading + way * (0.6 + 0.6 * v)
    target = heading + way * (0.1 + 0.8 * w)
    length = parents.length[:, None] * (0.3 + 0.45 * x) * (1.1 - 0.4 * at)
    thin = radius * (0.42 + 0.3 * y)
    course = jnp.stack([angle, target, jnp.full_like(angle, 0.1)]).reshape(3, -1)
    sizes = jnp.stack([length, thin]).reshape(2, -1)
    kind = jnp.repeat(parents.kind, branches)
    return _walk(winding, eye, start.reshape(-1, 2), course, sizes, kind, steps)


def _walk(
    chance: Float[Array, "3 2 V 1"],
    eye: Eye,
    start: Float[Array, "V 2"],
    course: Float[Array, "3 V"],
    sizes: Float[Array, "2 V"],
    kind: Int[Array, " V"],
    steps: int,
) -> Vessels:
    """Vessels that turn from an angle to a target over some length, winding, and taper.

    course holds these three, angles counted from the direction of the macula upwards, and sizes
    lengths and radii.
    """
    angle, target, bend = course[..., None]
    length, radius = sizes
    along = length[:, None] * jnp.linspace(0, 1, steps + 1)
    phase, wave, wind = chance
    period = jnp.array([0.14, 0.05]).reshape(2, 1, 1) * (0.7 + 0.6 * wave)
    winding = (0.1 + 0.28 * wind) * jnp.sin(2 * jnp.pi * (along / period + phase))
    heading = target + (angle - target) * jnp.exp(-along / bend) + winding.sum(0)
    middle = (heading[:, 1:] + heading[:, :-1]) / 2
    step = jnp.stack([eye.side * jnp.cos(middle), -jnp.sin(middle)], -1)
    so_far = jnp.tri(steps + 1, steps, -1)  # a product with it compiles faster than cumsum
    moved = jnp.einsum("ps,vsc->vpc", so_far, step, precision="highest")
    points = start[:, None] + moved * (length / steps)[:, None, None]
    taper = radius[:, None] * (1 - 0.6 * along / length[:, None])
    return Vessels(points, heading, taper * _alive(eye, points, taper), length, kind)


def _alive(
    eye: Eye, points: Float[Array, "V S 2"], radius: Float[Array, "V S"]
) -> Bool[Array, "V S"]:
    """Vessels end at the fovea, or when they are too thin."""
    near = jnp.linalg.norm(points - eye.fovea, axis=-1) < 0.055 + 4 * radius
    blocked = near | (radius < 5e-4)
    return blocked.astype(float) @ jnp.tri(radius.shape[1]).T == 0


def _segments(vessels: Vessels) -> Segments:
    points, radius = vessels.points, vessels.radius
    there = (radius[:, 1:] > 0)[..., None]
    ends = jnp.stack([radius[:, :-1], radius[:, 1:]], -1) * there
    kind = jnp.broadcast_to(vessels.kind[:, None], radius[:, 1:].shape)
    return Segments(
        points[:, :-1].reshape(-1, 2),
        points[:, 1:].reshape(-1, 2),
        ends.reshape(-1, 2),
        kind.reshape(-1),
    )
