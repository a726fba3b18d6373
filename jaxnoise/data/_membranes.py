"""Synthetic electron micrographs of neural tissue, with the membranes between cells."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from .._checks import check_count, check_key, check_numbers
from .._streaming import map_examples
from ._cells import cut_section
from ._em_stain import micrograph
from ._texture import smooth_noise

_AT_ONCE = 8  # sections drawn side by side


def membranes(
    key: Key[Array, ""], num: int, size: int = 256, scale: float = 1.0
) -> dict[str, Array]:
    """Draws sections of neural tissue as a transmission electron microscope shows them.

    A section shows cells of 5 to 75 pixels of 4 nm in radius, stretched along a random direction,
    with wavy membranes between them, 4 to 7 pixels thick where the section cuts them at a right
    angle, broader and paler where it cuts obliquely. Cells differ in gray and are more or less full
    of grains and vesicles; half of those large enough hold a mitochondrion, dark, with cristae and
    an outline of its own, which the labels don't count as membrane. Dark smudges lie on some
    membranes. Then come focus, uneven brightness, contrast and noise.

    Statistics over many sections at scale 1 lie near those of the 30 training sections of the
    ISBI-2012 challenge: gray level 126 ± 44, on membranes 85 ± 33, in cells 138 ± 40; share of
    membrane 0.22; correlation of pixels 1, 4 and 16 apart 0.86, 0.49 and 0.21; 136 cells on
    512 × 512 pixels.

    Args:
      key: typed key; one key gives the same sections each time.
      num: number N of sections.
      size: side of the images, pixels, at least 16.
      scale: pixels per 4 nm, the resolution of ISBI-2012; 0.5 shows in 128 pixels what takes 256
        pixels at 1, the default.

    Returns:
      {"image": (N, size, size, 1) uint8, "label": (N, size, size) uint8}, label 1 in cells and 0 on
      membranes.

    Raises:
      ValueError: if num or size is too small or scale out of bounds.

    References:
      I. Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for
      connectomics", 2015.

    Example:
      >>> import jax
      >>> import jaxnoise as jn
      >>> sections = jn.data.membranes(jax.random.key(0), 2, size=32)
      >>> sections["image"].shape, sections["label"].shape
      ((2, 32, 32, 1), (2, 32, 32))
    """
    check_key(key)
    check_count(num, "num")
    check_count(size, "size", 16)
    check_numbers(scale, "scale")
    if not 0.1 <= scale <= 4:
        raise ValueError(f"scale must lie in [0.1, 4] pixels per 4 nm, got {scale}")
    return _membranes(jax.random.split(key, num), size, float(scale))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _membranes(keys: Key[Array, " N"], size: int, scale: float) -> dict[str, Array]:
    draw = functools.partial(_section, size, scale)
    return map_examples(jax.vmap(draw), keys, _AT_ONCE)


def _section(size: int, scale: float, key: Key[Array, ""]) -> dict[str, Array]:
    cell_key, width_key, stain_key = jax.random.split(key, 3)
    discs, section = cut_section(cell_key, size, scale)
    width = _half_width(width_key, size, scale)
    return {
        "image": micrograph(stain_key, discs, section, width, scale),
        "label": (section.depth > width).astype(jnp.uint8),
    }


def _half_width(key: Key[Array, ""], size: int, scale: float) -> Float[Array, "H W"]:
    """Half the thickness of membranes in pixels of 4 nm, more where the section cuts obliquely."""
    fine, oblique = smooth_noise(key, size, [25 * scale, 60 * scale])
    return 3.12 + 0.4 * jnp.clip(fine, -2, 2) + 4.5 * jnp.clip(oblique - 1.0, 0, None)
