"""Photographs behind a wet pane: drops that refract the scene."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key, UInt8

from .._checks import check_count, check_key, check_numbers
from .._streaming import map_examples
from ._drops import Water, wet_pane
from ._facade_plan import between, uniform
from ._texture import as_bytes, blur

_AT_ONCE = 4  # photographs side by side
_COARSE = 4  # pixels of the photograph to one of what drops show


def raindrops(
    key: Key[Array, ""], photographs: UInt8[Array, "N H W 3"], num_drops: int = 40
) -> dict[str, Array]:
    """Renders photographs as seen through a pane with raindrops on it.

    Drops have radii of 1 to 9 % of the shorter side, most of them small; they are irregular, merge
    where they touch, and some have run down and left a narrowing track. Like a lens each shows the
    scene upside down and small, out of focus, with a dark edge, most of it above, and a highlight.
    Rims are blurred, more so where the whole pane is out of focus. What isn't behind a drop stays
    as it is. This stands in for pairs photographed with and without drops, as in the paper below.

    Args:
      key: typed key; one key gives the same drops each time.
      photographs: (N, H, W, 3) uint8, at least 16 pixels a side.
      num_drops: largest number of drops on a pane; the number is uniform between a quarter of it
        and all.

    Returns:
      {"image": (N, H, W, 3) uint8, "target": the photographs, "label": (N, H, W) uint8, 1 behind
      drops}.

    Raises:
      ValueError: if photographs have another shape or num_drops is less than 1.
      TypeError: if photographs aren't uint8.

    References:
      R. Qian et al., "Attentive generative adversarial network for raindrop removal from a single
      image", 2018.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxnoise as jn
      >>> gray = jnp.full((2, 32, 48, 3), 128, jnp.uint8)
      >>> wet = jn.data.raindrops(jax.random.key(0), gray)
      >>> wet["image"].shape, wet["label"].shape
      ((2, 32, 48, 3), (2, 32, 48))
    """
    check_key(key)
    check_numbers(photographs, "photographs")
    shape, dtype = jnp.shape(photographs), jnp.asarray(photographs).dtype
    if len(shape) != 4 or shape[-1] != 3 or not shape[0] or min(shape[1:3]) < 16:
        raise ValueError(f"photographs must be (N, H, W, 3) with sides of 16 or more, got {shape}")
    if dtype != jnp.uint8:
        raise TypeError(f"photographs must be uint8, levels 0 … 255, got {dtype}")
    check_count(num_drops, "num_drops")
    photographs = jnp.asarray(photographs)
    rendered = _raindrops(jax.random.split(key, shape[0]), photographs, num_drops)
    return {**rendered, "target": photographs}


@functools.partial(jax.jit, static_argnums=2)
def _raindrops(keys: Key[Array, " N"], photographs: Array, num_drops: int) -> dict[str, Array]:
    def render(chunk: tuple[Array, Array]) -> dict[str, Array]:
        return jax.vmap(functools.partial(_behind_pane, num_drops))(*chunk)

    return map_examples(render, (keys, photographs), _AT_ONCE)


def _behind_pane(
    num_drops: int, key: Key[Array, ""], photograph: UInt8[Array, "H W 3"]
) -> dict[str, Array]:
    pane_key, rim_key, light_key = jax.random.split(key, 3)
    height, width = photograph.shape[:2]
    water = wet_pane(pane_key, height, width, num_drops)
    scene = photograph.astype(jnp.float32)
    seen = _lit(light_key, _refracted(scene, water), water)
    rim = jax.random.uniform(rim_key, minval=0.006, maxval=0.028) * min(height, width)
    inside = water.depth > 0
    cover = jnp.clip(water.depth / rim, 0, 1)
    cover = (cover * cover * (3 - 2 * cover))[..., None]
    image = jnp.where(inside[..., None], scene + cover * (seen - scene), scene)
    return {"image": as_bytes(image), "label": inside.astype(jnp.uint8)}


def _refracted(scene: Float[Array, "H W 3"], water: Water) -> Float[Array, "H W 3"]:
    """What drops show: the scene beyond the drop's middle, upside down and small."""
    height, width = scene.shape[:2]
    coarse = (max(4, height // _COARSE), max(4, width // _COARSE))
    small = blur(jax.image.resize(scene, (*coarse, 3), "linear"), 0.8, 2)
    grow = jnp.array([coarse[0] / height, coarse[1] / width])
    at = (jnp.moveaxis(water.source, -1, 0) + 0.5) * grow[:, None, None] - 0.5
    look = functools.partial(map_coordinates, coordinates=list(at), order=1, mode="mirror")
    return jax.vmap(look, in_axes=-1, out_axes=-1)(small)


def _lit(key: Key[Array, ""], seen: Float[Array, "H W 3"], water: Water) -> Float[Array, "H W 3"]:
    """A dark edge, more of it above, and the highlight of a light from above."""
    u = functools.partial(between, uniform(key))
    down, right = jnp.moveaxis(water.offset, -1, 0)
    edge = jnp.exp(-water.depth / (0.2 * water.radius))
    above = jnp.clip(0.6 - 0.4 * down, 0.2, 1.0)
    dark = 1 - u(0.45, 0.75) * edge * above
    spot = jnp.exp(-((down + 0.4) ** 2 + (right - u(-0.45, 0.45)) ** 2) / 0.02)
    glow = u(0.05, 0.2) * jnp.clip(down, 0, 1) * jnp.clip(1 - edge, 0, 1)
    seen = seen * (u(0.9, 1.15) * dark + glow)[..., None]
    return seen + (u(0.3, 0.9) * spot)[..., None] * (250 - seen)
