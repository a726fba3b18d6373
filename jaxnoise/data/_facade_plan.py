"""The plan of a synthetic facade: where its parts are, and which pixels belong to them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

FACADE_CLASSES = ("sky", "roof", "wall", "window", "balcony", "door", "ground", "tree")
SKY, ROOF, WALL, WINDOW, BALCONY, DOOR, GROUND, TREE = range(8)
MOST = 6  # floors, columns


class House(NamedTuple):
    """Geometry in units of the image's side, y downwards."""

    left: Array  # edges of the wall
    right: Array
    eaves: Array
    ground: Array
    floors: Array  # whole numbers
    columns: Array
    roof_height: Array
    roof_slope: Array  # how far each side of the roof leans in, from eaves to ridge
    chimney: Array  # x
    window: Array  # (2,): width and height over those of a cell
    door: Array  # its column
    balconies: Array  # (floors,): which have them
    tree: Array  # (4,): x, y and radius of the crown, phase of its outline


class Grid(NamedTuple):
    """Where each pixel is."""

    y: Array  # (H, 1)
    x: Array  # (1, W)
    floor: Array  # (H, 1): number of the cell of the wall
    column: Array  # (1, W)
    v: Array  # (H, 1): place in it, −½ at the top or left and ½ at the bottom or right
    u: Array  # (1, W)


def uniform(key: Key[Array, ""]) -> Iterator[Array]:
    """Endless uniform numbers in [0, 1), a batch of them drawn at once."""
    yield from jax.random.uniform(key, (64,))


def between(numbers: Iterator[Array], low: float, high: float) -> Array:
    return low + (high - low) * next(numbers)


def draw_house(key: Key[Array, ""]) -> House:
    key, balcony_key = jax.random.split(key)
    numbers = uniform(key)
    u = functools.partial(between, numbers)
    columns = jnp.floor(u(3, 7))
    left, right = u(0.03, 0.16), u(0.84, 0.97)
    ground = u(0.86, 0.93)
    has_tree, aside = u(0, 1) < 0.4, u(0, 1) < 0.5
    return House(
        left=left,
        right=right,
        eaves=u(0.2, 0.32),
        ground=ground,
        floors=jnp.floor(u(2, 6)),
        columns=columns,
        roof_height=u(0.08, 0.17),
        roof_slope=(right - left) * u(0.02, 0.48),
        chimney=u(0.3, 0.7),
        window=jnp.stack([u(0.38, 0.62), u(0.48, 0.7)]),
        door=jnp.floor(u(0, 1) * columns),
        balconies=jax.random.bernoulli(balcony_key, 0.35, (MOST,)),
        tree=jnp.stack(
            [
                jnp.where(aside, u(0.0, 0.15), u(0.85, 1.0)),
                ground - u(0.1, 0.3),
                jnp.where(has_tree, u(0.09, 0.17), -1.0),
                u(0, 6.28),
            ]
        ),
    )


def grid_of(house: House, size: int) -> Grid:
    centres = (jnp.arange(size) + 0.5) / size
    y, x = centres[:, None], centres[None]
    row = (y - house.eaves) / (house.ground - house.eaves) * house.floors
    column = (x - house.left) / (house.right - house.left) * house.columns
    i, j = jnp.floor(row), jnp.floor(column)
    return Grid(y, x, i, j, row - i - 0.5, column - j - 0.5)


def classes_of(house: House, at: Grid) -> Int[Array, "H W"]:
    """The class of each pixel; what is in front comes last."""
    wall = (at.x > house.left) & (at.x < house.right) & (at.y > house.eaves)
    width, height = house.window
    street = at.floor == house.floors - 1
    entrance = street & (at.column == house.door)
    rise = (house.eaves - at.y) / house.roof_height  # 0 at the eaves, 1 at the ridge
    lean = house.roof_slope * rise - 0.015
    roof = (rise > 0) & (rise < 1) & (at.x > house.left + lean) & (at.x < house.right - lean)
    chimney = (jnp.abs(at.x - house.chimney) < 0.03) & (rise > 0.5) & (rise < 1.35)
    window = wall & ~entrance & (jnp.abs(at.u) < width / 2) & (jnp.abs(at.v) < height / 2)
    door = wall & entrance & (jnp.abs(at.u) < 0.5 * width + 0.06) & (at.v > -0.3)
    layers = [
        (roof | chimney, ROOF),
        (wall, WALL),
        (window, WINDOW),
        (wall & ~street & _balcony(house, at), BALCONY),
        (door, DOOR),
        (at.y > house.ground, GROUND),
        (_tree(house, at), TREE),
    ]
    classes = jnp.full((at.y.size, at.x.size), SKY, jnp.int32)
    for where, label in layers:
        classes = jnp.where(where, label, classes)
    return classes


def _balcony(house: House, at: Grid) -> Bool[Array, "H W"]:
    width, height = house.window
    floor = jnp.clip(at.floor, 0, MOST - 1).astype(int)
    across = jnp.abs(at.u) < width / 2 + 0.1
    return house.balconies[floor] & across & (at.v > 0.08) & (at.v < height / 2 + 0.08)


def _tree(house: House, at: Grid) -> Bool[Array, "H W"]:
    x, y, radius, phase = house.tree
    right, down = at.x - x, at.y - y
    outline = radius * (1 + 0.14 * jnp.sin(5 * jnp.arctan2(down, right) + phase))
    trunk = (jnp.abs(right) < 0.012) & (down > 0) & (at.y < house.ground + 0.02) & (radius > 0)
    return (jnp.hypot(right, down) < outline) | trunk
