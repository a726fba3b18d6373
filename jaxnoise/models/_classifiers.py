"""The two plain classifiers of the vanishing-gradients paper."""

from __future__ import annotations

import math
from functools import partial

import jax
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import conv, halve
from ._initial_kernels import he_fan_in
from ._shapes import at_least, check_images, check_sizes


class FeedForward(nnx.Module):
    """Two dense layers with ReLU and a linear read-out.

    Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
    Algorithm Work Well?", 2018, section 4: 256 units a layer. Kernels start from He's normal
    distribution (fan-in), biases at zero. With p = in_channels·image_size² inputs the network has
    (p + 1)·width + (width + 1)·width + (width + 1)·num_classes parameters.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      image_size: height and width of the images, pixels.
      width: units of each hidden layer.
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      TypeError: if rngs is no `nnx.Rngs`.
      ValueError: if a size is too small, or, in a call, x holds no images of that size.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.FeedForward(in_channels=1, image_size=8, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((5, 8, 8, 1))).shape
      (5, 10)
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        width: int = 256,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, num_classes=num_classes, in_channels=in_channels)
        check_sizes(rngs, image_size=image_size, width=width)
        dense = partial(nnx.Linear, kernel_init=he_fan_in, dtype=dtype, rngs=rngs)
        self.dense1 = dense(in_channels * image_size**2, width)
        self.dense2 = dense(width, width)
        self.readout = dense(width, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C), or vectors of as many numbers, to scores (B, num_classes)."""
        shape, numbers = x.shape, self.dense1.in_features
        if x.ndim < 2 or math.prod(shape[1:]) != numbers:
            raise ValueError(f"x must hold {numbers} numbers per example, got shape {shape}")
        x = x.reshape(shape[0], -1)
        x = nnx.relu(self.dense1(x))
        x = nnx.relu(self.dense2(x))
        return self.readout(x)


class SmallCNN(nnx.Module):
    """Two 5×5 convolutions with max-pooling, two dense layers and a linear read-out.

    Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient
    Algorithm Work Well?", 2018, section 4: 64 filters, 384 and 192 units. No normalisation, so
    per-example gradients are defined in training, too. Kernels start from He's normal distribution
    (fan-in), biases at zero.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      image_size: height and width of the images, pixels; at least 4.
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      TypeError: if rngs is no `nnx.Rngs`.
      ValueError: if a size is too small, or, in a call, x holds no images of that size.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.SmallCNN(in_channels=1, image_size=8, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((5, 8, 8, 1))).shape
      (5, 10)
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, num_classes=num_classes, in_channels=in_channels)
        at_least(4, image_size=image_size)  # to be halved twice
        dense = partial(nnx.Linear, kernel_init=he_fan_in, dtype=dtype, rngs=rngs)
        self.conv1 = conv(in_channels, 64, (5, 5), dtype=dtype, rngs=rngs)
        self.conv2 = conv(64, 64, (5, 5), dtype=dtype, rngs=rngs)
        flat = 64 * (image_size // 4) ** 2
        self.dense1 = dense(flat, 384)
        self.dense2 = dense(384, 192)
        self.readout = dense(192, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C) to scores (B, num_classes)."""
        check_images(x, self.conv1.in_features, least=4)
        shape = x.shape
        x = halve(nnx.relu(self.conv1(x)))
        x = halve(nnx.relu(self.conv2(x)))
        x = x.reshape(x.shape[0], -1)
        if x.shape[1] != self.dense1.in_features:
            raise ValueError(f"x must be images of the network's image_size, got shape {shape}")
        x = nnx.relu(self.dense1(x))
        x = nnx.relu(self.dense2(x))
        return self.readout(x)
