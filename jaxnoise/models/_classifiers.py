"""The two plain classifiers of the vanishing-gradients paper."""

from __future__ import annotations

import jax
from flax import nnx

from ._blocks import conv, halve


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
      rngs: source of the initial kernels.

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
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.he_normal()
        inputs = in_channels * image_size**2
        self.dense1 = nnx.Linear(inputs, width, kernel_init=init, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, kernel_init=init, rngs=rngs)
        self.readout = nnx.Linear(width, num_classes, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C), or vectors of as many numbers, to scores (B, num_classes)."""
        x = x.reshape(x.shape[0], -1)
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
      rngs: source of the initial kernels.

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
        rngs: nnx.Rngs,
    ):
        if image_size < 4:
            raise ValueError(f"image_size must be at least 4 to be halved twice, got {image_size}")
        init = nnx.initializers.he_normal()
        self.conv1 = conv(in_channels, 64, (5, 5), rngs=rngs)
        self.conv2 = conv(64, 64, (5, 5), rngs=rngs)
        flat = 64 * (image_size // 4) ** 2
        self.dense1 = nnx.Linear(flat, 384, kernel_init=init, rngs=rngs)
        self.dense2 = nnx.Linear(384, 192, kernel_init=init, rngs=rngs)
        self.readout = nnx.Linear(192, num_classes, kernel_init=init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C) to scores (B, num_classes)."""
        x = halve(nnx.relu(self.conv1(x)))
        x = halve(nnx.relu(self.conv2(x)))
        x = x.reshape(x.shape[0], -1)
        x = nnx.relu(self.dense1(x))
        x = nnx.relu(self.dense2(x))
        return self.readout(x)
