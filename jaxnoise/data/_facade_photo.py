"""The photograph of a synthetic facade: materials, then light, then the camera."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ._facade_plan import BALCONY, GROUND, MOST, WALL, WINDOW, Grid, House, between, uniform


def photograph(key: Key[Array, ""], house: House, at: Grid, classes: Int[Array, "H W"]) -> Array:
    """What a camera sees of a house whose pixels have these classes, (H/2, W/2, 3) uint8."""
    material_key, light_key, camera_key = jax.random.split(key, 3)
    scene = _materials(material_key, house, at, classes)
    return _camera(camera_key, scene * _light(light_key, house, at, classes)[..., None])


def _materials(
    key: Key[Array, ""], house: House, at: Grid, classes: Int[Array, "H W"]
) -> Float[Array, "H W 3"]:
    key, rooms_key, cloud_key, leaf_key, grain_key, brick_key = jax.random.split(key, 6)
    u = functools.partial(between, uniform(key))
    size = classes.shape[0]
    clouds, leaves = _noise(cloud_key, size, 6), _noise(leaf_key, size, size // 4)
    grain = jax.random.normal(grain_key, classes.shape)

    brick = _hsv(u(0.0, 0.07), u(0.35, 0.65), u(0.4, 0.65)) * _bricks(brick_key, at)
    plaster = _hsv(u(0.03, 0.17) + 0.5 * (u(0, 1) < 0.25), u(0.05, 0.45), u(0.65, 0.95))
    is_brick = u(0, 1) < 0.45
    wall = jnp.where(is_brick, brick, plaster * (1 + 0.05 * clouds)[..., None])
    cornice = 1 + 0.22 * (at.v < -0.44) * (u(0, 1) < 0.6)
    wall = wall * cornice[..., None] * (1 + 0.04 * grain[..., None])

    tiles = 1 + 0.18 * jnp.sign(jnp.sin(2 * jnp.pi * 28 * at.y))
    warm = _hsv(u(0.0, 0.06), u(0.45, 0.75), u(0.35, 0.6))
    roof = jnp.where(u(0, 1) < 0.6, warm, _hsv(0.6, u(0.05, 0.2), u(0.25, 0.45)))
    roof = roof * (tiles + 0.06 * grain)[..., None]

    blue = _hsv(0.58 + 0.02 * u(0, 1), u(0.05, 0.55), u(0.75, 1.0))
    cover = jax.nn.sigmoid(4 * clouds + u(-4, 2))[..., None] * (0.6 + 0.4 * at.y[..., None])
    sky = blue + cover * (0.95 - blue)

    iron = u(0, 1) < 0.6
    rail = jnp.where(iron, _hsv(0.6, 0.1, u(0.08, 0.2)), _hsv(0.1, 0.08, u(0.75, 0.95)))
    windows = _windows(rooms_key, house, at)
    bars = (jnp.sin(2 * jnp.pi * 32 * at.x) > 0.0)[..., None]
    behind = jnp.where(iron, 0.7 * windows, 0.85 * rail)
    balcony = jnp.where(bars, rail, behind)

    door = _hsv(u(0, 1), u(0.3, 0.8), u(0.2, 0.5))
    panel = (jnp.abs(jnp.abs(at.u) - 0.12) < 0.07) & (jnp.abs(jnp.abs(at.v) - 0.15) < 0.1)
    door = door * (1 - 0.25 * panel)[..., None]

    grass = _hsv(u(0.22, 0.32), u(0.3, 0.6), u(0.35, 0.55))
    paving = _hsv(u(0.05, 0.15), u(0.02, 0.12), u(0.4, 0.65))
    ground = jnp.where(u(0, 1) < 0.3, grass, paving) * (1 + 0.08 * grain + 0.06 * leaves)[..., None]

    foliage = _hsv(u(0.18, 0.36), u(0.4, 0.7), u(0.3, 0.5))
    tree = foliage * (1 + 0.3 * leaves + 0.1 * grain)[..., None]
    trunk = (jnp.abs(at.x - house.tree[0]) < 0.012) & (at.y > house.tree[1] + house.tree[2])
    tree = jnp.where(trunk[..., None], _hsv(0.07, 0.4, 0.25), tree)

    layers = [sky, roof, wall, windows, balcony, door, ground, tree]
    scene = jnp.stack([jnp.broadcast_to(layer, (*classes.shape, 3)) for layer in layers])
    return jnp.take_along_axis(scene, classes[None, ..., None], axis=0)[0]


def _windows(key: Key[Array, ""], house: House, at: Grid) -> Float[Array, "H W 3"]:
    """Glass that mirrors the sky, some of it before curtains or lit rooms, and frames."""
    key, glass_key, room_key = jax.random.split(key, 3)
    u = functools.partial(between, uniform(key))
    cell = tuple(jnp.clip(n, 0, MOST - 1).astype(int) for n in (at.floor, at.column))
    brightness = jax.random.uniform(glass_key, (MOST, MOST), minval=0.12, maxval=0.4)[cell]
    room = jax.random.uniform(room_key, (MOST, MOST))[cell]
    glass = _hsv(u(0.55, 0.62), u(0.1, 0.4), 1.0) * (brightness * (1.1 - at.v))[..., None]
    curtain = _hsv(u(0.0, 1.0), 0.08, u(0.6, 0.8)) * (1 - 0.3 * (at.v > 0))[..., None]
    glass = jnp.where((room < u(0.0, 0.35))[..., None], curtain, glass)
    glass = jnp.where((room > u(0.85, 1.0))[..., None], _hsv(0.12, 0.5, 0.9), glass)
    width, height = house.window
    edge = (jnp.abs(at.u) > width / 2 - 0.07) | (jnp.abs(at.v) > height / 2 - 0.06)
    cross = (jnp.abs(at.u) < 0.03) | (jnp.abs(at.v + 0.08) < 0.03) & (u(0, 1) < 0.5)
    white = _hsv(0.1, 0.05, u(0.75, 0.98))
    frame = jnp.where(u(0, 1) < 0.65, white, _hsv(0.06, 0.5, u(0.2, 0.4)))
    return jnp.where((edge | cross)[..., None], frame, glass)


def _bricks(key: Key[Array, ""], at: Grid) -> Float[Array, "H W 1"]:
    """Brightness of brickwork: joints, and bricks that differ a little."""
    course = at.y * 40
    along = at.x * 18 + 0.5 * (jnp.floor(course) % 2)
    joint = (course % 1 < 0.3) | (along % 1 < 0.13)
    shades = jax.random.uniform(key, (40, 19), minval=0.88, maxval=1.12)
    return jnp.where(joint, 1.3, shades[course.astype(int), along.astype(int)])[..., None]


def _light(
    key: Key[Array, ""], house: House, at: Grid, classes: Int[Array, "H W"]
) -> Float[Array, "H W"]:
    """Brightness by shadows, the direction of the light and exposure."""
    u = functools.partial(between, uniform(key))
    depth = u(0.3, 0.65)
    height = house.window[1]
    wall, window = classes == WALL, classes == WINDOW
    facing = wall | window
    eaves = facing & (at.y < house.eaves + 0.035)
    above = jnp.roll(classes == BALCONY, classes.shape[0] // 40, axis=0)
    under = facing & above
    recess = window & (at.v < -height / 2 + 0.1)
    foot = (classes == GROUND) & (at.y < house.ground + 0.02)
    shadow = jnp.where(eaves | under | recess | foot, depth, 1.0)
    slope = 1 + u(-0.25, 0.25) * (at.x - 0.5) + u(-0.15, 0.15) * (at.y - 0.5)
    return shadow * slope * u(0.75, 1.1)


def _camera(key: Key[Array, ""], scene: Float[Array, "H W 3"]) -> Array:
    """Tint, blur, sampling and noise."""
    key, noise_key = jax.random.split(key)
    u = functools.partial(between, uniform(key))
    scene = scene * jnp.stack([u(0.93, 1.07), 1.0, u(0.93, 1.07)])
    side = u(0.05, 0.28)  # weight of either neighbour
    for axis in (0, 1):
        padded = jnp.pad(scene, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        cut = functools.partial(jax.lax.slice_in_dim, padded, axis=axis)
        neighbours = cut(0, scene.shape[axis]) + cut(2, scene.shape[axis] + 2)
        scene = (1 - 2 * side) * scene + side * neighbours
    size = scene.shape[0] // 2
    sampled = scene.reshape(size, 2, size, 2, 3).mean((1, 3))
    noise = jax.random.normal(noise_key, sampled.shape) * u(0.008, 0.025)
    exposed = jnp.clip(sampled + noise * jnp.sqrt(0.2 + jnp.clip(sampled, 0, 1)), 0, 1)
    return jnp.round(255 * exposed).astype(jnp.uint8)


def _noise(key: Key[Array, ""], size: int, cells: int) -> Float[Array, "H W"]:
    """Smooth noise with about so many bumps along a side."""
    return jax.image.resize(jax.random.normal(key, (cells, cells)), (size, size), "cubic")


def _hsv(hue: Array | float, saturation: Array | float, value: Array | float) -> Array:
    """The colour as red, green and blue, (3,)."""
    k = (jnp.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    return value * (1 - saturation * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))
