"""Residual networks for small images."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from ._blocks import Norm, conv, normalization

_fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet18(nnx.Module):
    """The 18-layer residual network with the stem for small images.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, with the CIFAR stem
    that the trajectory-regularization experiments use: one 3×3 convolution of stride 1, no
    max-pooling. Convolutions carry no bias and start from He's normal distribution with fan-out;
    the read-out starts from LeCun's. With the defaults it has 11,173,962 parameters.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      width: channels of the first stage; the others have 2, 4 and 8 times as many.
      norm: normalisation after each convolution, "batch", "group", "instance" or "none".
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.ResNet18(width=4, norm="group", rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((2, 8, 8, 3))).shape
      (2, 10)
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        rngs: nnx.Rngs,
    ):
        self.stem = conv(
            in_channels, width, (3, 3), use_bias=False, kernel_init=_fan_out, rngs=rngs
        )
        self.stem_norm = normalization(norm, width, rngs=rngs)
        blocks, features = [], width
        for stage in range(4):
            for block in range(2):
                strides = 2 if stage > 0 and block == 0 else 1
                blocks.append(
                    _BasicBlock(features, width * 2**stage, strides=strides, norm=norm, rngs=rngs)
                )
                features = width * 2**stage
        self.blocks = nnx.List(blocks)
        self.readout = nnx.Linear(features, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C) to scores (B, num_classes)."""
        x = nnx.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.readout(jnp.mean(x, axis=(1, 2)))


class _BasicBlock(nnx.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(
        self, in_features: int, out_features: int, *, strides: int, norm: Norm, rngs: nnx.Rngs
    ):
        def convolve(inputs: int, kernel: tuple[int, int], strides: int) -> nnx.Conv:
            return conv(
                inputs,
                out_features,
                kernel,
                strides=strides,
                use_bias=False,
                kernel_init=_fan_out,
                rngs=rngs,
            )

        self.conv1 = convolve(in_features, (3, 3), strides)
        self.norm1 = normalization(norm, out_features, rngs=rngs)
        self.conv2 = convolve(out_features, (3, 3), 1)
        self.norm2 = normalization(norm, out_features, rngs=rngs)
        if strides == 1 and in_features == out_features:
            self.shortcut = nnx.identity
        else:
            self.shortcut = nnx.Sequential(
                convolve(in_features, (1, 1), strides),
                normalization(norm, out_features, rngs=rngs),
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))
