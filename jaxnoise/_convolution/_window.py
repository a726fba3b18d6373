"""The geometry of a convolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Array = Literal["input", "kernel", "output"]  # of a convolution's three, each a map of the others


class Window(NamedTuple):
    """How a kernel moves over images: one entry per spatial dimension.

    Output position t and kernel entry o meet the input at t·stride + o·dilation − low.
    """

    size: tuple[int, ...]  # of the images
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # (low, high); a negative one cuts off
    dilation: tuple[int, ...]
    precision: Any = None
    accumulation: Any = None  # dtype of the sums, that of the operands where None

    @property
    def positions(self) -> tuple[int, ...]:
        """Size of the output maps; 0 where the kernel doesn't fit."""
        return tuple(
            max(0, (n + low + high - reach) // s + 1)
            for n, (low, high), reach, s in zip(
                self.size, self.padding, self.reach, self.strides, strict=True
            )
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """Size of the dilated kernel."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def num_positions(self) -> int:
        return math.prod(self.positions)

    @property
    def num_offsets(self) -> int:
        return math.prod(self.kernel)

    @property
    def is_dense(self) -> bool:
        """Whether the window moves one step at a time."""
        return all(s == 1 for s in self.strides)

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """The kernel's entries in the order of its memory."""
        return itertools.product(*map(range, self.kernel))

    def adjoint(self) -> Window:
        """The window by which a dense convolution's flipped kernel takes outputs to inputs."""
        padding = tuple(
            (reach - 1 - low, n + low - t)
            for n, (low, _), reach, t in zip(
                self.size, self.padding, self.reach, self.positions, strict=True
            )
        )
        return self._replace(size=self.positions, padding=padding)

    def without_first_axis(self) -> Window:
        return self._replace(
            size=self.size[1:],
            kernel=self.kernel[1:],
            strides=self.strides[1:],
            padding=self.padding[1:],
            dilation=self.dilation[1:],
        )
