"""Wide residual networks for small images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from .._checks import check_whole
from ._blocks import Norm, conv, normalization
from ._initial_kernels import he_fan_out
from ._shapes import check_images, check_sizes


class WideResNet(nnx.Module):
    """The wide residual network WRN-depth-width, without dropout.

    A 3×3 convolution to 16 channels, three groups of (depth − 4)/6 blocks with 16, 32 and 64 times
    `width` channels, of which the second and third halve the map, and a normalised, linear
    read-out of the map's mean. A block normalises and activates before each of its two 3×3
    convolutions; where the shape changes, its shortcut is a 1×1 convolution of the first
    activation. Zagoruyko, Komodakis, "Wide Residual Networks", 2016. Convolutions carry no bias and
    start from He's normal distribution with fan-out; the read-out starts from LeCun's.

    A block from i to c channels has 2i + 9ic + 2c + 9c² parameters, and ic more where the shape
    changes. With the defaults, WRN-28-10, the stem has 27·16 = 432; the groups, each of one block
    that changes the shape and three of 18c² + 4c with c = 160, 320, 640, have 1,640,672 + 6,968,000
    + 27,862,400; the last norm has 1,280 and the read-out 641·10: 36,479,194 together, and
    36,536,884 with 100 classes.

    Args:
      depth: number of layers, 6n + 4 for n blocks a group.
      width: widening factor.
      num_classes: number of scores per example.
      in_channels: channels of the images.
      norm: normalisation before each convolution, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if depth isn't 6n + 4 with n ≥ 1, norm is none of these, or, in a call, x is no
        batch of images with in_channels channels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.WideResNet(depth=10, width=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((2, 8, 8, 3))).shape
      (2, 10)
    """

    def __init__(
        self,
        *,
        depth: int = 28,
        width: int = 10,
        num_classes: int = 10,
        in_channels: int = 3,
        norm: Norm = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, width=width, num_classes=num_classes, in_channels=in_channels)
        check_whole(depth, "depth")
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4 with n ≥ 1, such as 16, 28 or 40, got {depth}")
        convolve = partial(conv, use_bias=False, kernel_init=he_fan_out, dtype=dtype, rngs=rngs)
        normalize = partial(normalization, norm, dtype=dtype, rngs=rngs)
        self.stem = convolve(in_channels, 16, (3, 3))
        blocks, features = [], 16
        for group in range(3):
            outputs = 16 * width * 2**group
            for index in range((depth - 4) // 6):
                strides = 2 if group > 0 and index == 0 else 1
                blocks.append(_PreActivationBlock(features, outputs, strides, convolve, normalize))
                features = outputs
        self.blocks = nnx.List(blocks)
        self.norm = normalize(features)
        self.readout = nnx.Linear(features, num_classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C) to scores (B, num_classes)."""
        check_images(x, self.stem.in_features)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(jnp.mean(nnx.relu(self.norm(x)), axis=(1, 2)))


class _PreActivationBlock(nnx.Module):
    """Twice a norm, ReLU and a 3×3 convolution, and a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, strides: int, convolve: Callable, normalize: Callable
    ):
        self.norm1 = normalize(inputs)
        self.conv1 = convolve(inputs, outputs, (3, 3), strides=strides)
        self.norm2 = normalize(outputs)
        self.conv2 = convolve(outputs, outputs, (3, 3))
        same_shape = strides == 1 and inputs == outputs
        self.shortcut = None if same_shape else convolve(inputs, outputs, (1, 1), strides=strides)

    def __call__(self, x: jax.Array) -> jax.Array:
        activated = nnx.relu(self.norm1(x))
        y = nnx.relu(self.norm2(self.conv1(activated)))
        return self.conv2(y) + (x if self.shortcut is None else self.shortcut(activated))
