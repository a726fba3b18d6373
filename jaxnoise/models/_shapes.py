"""Shapes of images and volumes, and their checks."""

from __future__ import annotations

import jax
from flax import nnx

from .._checks import check_count


def cube(size: int, ndim: int) -> tuple[int, ...]:
    """The size of a kernel that is `size` pixels wide along each of `ndim` axes."""
    if ndim not in (2, 3):
        raise ValueError(f"ndim must be 2 for images or 3 for volumes, got {ndim!r}")
    return (size,) * ndim


def at_least(least: int, **arguments: int) -> None:
    """Refuses arguments below `least`."""
    for name, value in arguments.items():
        check_count(value, name, least)


def check_sizes(rngs: nnx.Rngs, **sizes: int) -> None:
    """Refuses sizes below one, and anything but `nnx.Rngs` to draw parameters from."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs must be such as nnx.Rngs(0), got a {type(rngs).__name__}")
    at_least(1, **sizes)


def check_images(
    x: jax.Array, channels: int, *, ndim: int = 2, multiple: int = 1, least: int = 1
) -> None:
    """Refuses all but images, or volumes, of `channels` channels whose sides fit a network.

    Args:
      x: what the network is fed.
      channels: its in_channels.
      ndim: 2 for images, 3 for volumes.
      multiple: what each side must be a multiple of.
      least: the shortest side, pixels.
    """
    kind = f"images (B, H, W, {channels})" if ndim == 2 else f"volumes (B, D, H, W, {channels})"
    if x.ndim != ndim + 2 or x.shape[-1] != channels:
        raise ValueError(f"x must be {kind}, got shape {x.shape}")
    least = max(least, multiple)
    if any(side % multiple or side < least for side in x.shape[1:-1]):
        multiples = f"multiples of {multiple} and " if multiple > 1 else ""
        raise ValueError(
            f"x must be {kind} with sides that are {multiples}at least {least} pixels, "
            f"got shape {x.shape}: pad, crop or resize"
        )
