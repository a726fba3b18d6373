"""Residual networks, with a stem for small images and the one for ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, normalization
from ._initial_kernels import he_fan_out
from ._shapes import check_images, check_sizes

Stem = Literal["cifar", "imagenet"]


class _BasicBlock(nnx.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, strides: int, convolve: Callable, normalize: Callable
    ):
        self.conv1 = convolve(inputs, width, (3, 3), strides=strides)
        self.norm1 = normalize(width)
        self.conv2 = convolve(width, width, (3, 3))
        self.norm2 = normalize(width)
        self.shortcut = _shortcut(inputs, width, strides, convolve, normalize)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))


class _Bottleneck(nnx.Module):
    """A 1×1, a 3×3 and a widening 1×1 convolution, and a shortcut."""

    expansion = 4

    def __init__(
        self, inputs: int, width: int, strides: int, convolve: Callable, normalize: Callable
    ):
        outputs = self.expansion * width
        self.conv1 = convolve(inputs, width, (1, 1))
        self.norm1 = normalize(width)
        self.conv2 = convolve(width, width, (3, 3), strides=strides)
        self.norm2 = normalize(width)
        self.conv3 = convolve(width, outputs, (1, 1))
        self.norm3 = normalize(outputs)
        self.shortcut = _shortcut(inputs, outputs, strides, convolve, normalize)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = nnx.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return nnx.relu(y + self.shortcut(x))


def _shortcut(
    inputs: int, outputs: int, strides: int, convolve: Callable, normalize: Callable
) -> Callable:
    """The identity; a 1×1 convolution and normalisation where the shape changes."""
    if strides == 1 and inputs == outputs:
        return nnx.identity
    return nnx.Sequential(convolve(inputs, outputs, (1, 1), strides=strides), normalize(outputs))


def _pool(x: jax.Array) -> jax.Array:
    """3×3 max-pooling with stride 2 and padding 1."""
    padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-jnp.inf)
    return nnx.max_pool(padded, (3, 3), strides=(2, 2))


class _ResNet(nnx.Module):
    """A stem, four stages of `layers` blocks, mean pooling and a linear read-out."""

    layers: ClassVar[tuple[int, int, int, int]]
    block: ClassVar[type[_BasicBlock | _Bottleneck]]

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        stem: Stem = "cifar",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, num_classes=num_classes, in_channels=in_channels, width=width)
        convolve = partial(conv, use_bias=False, kernel_init=he_fan_out, dtype=dtype, rngs=rngs)
        normalize = partial(normalization, norm, dtype=dtype, rngs=rngs)
        if stem == "cifar":
            self.stem, self.pool = convolve(in_channels, width, (3, 3)), nnx.identity
        elif stem == "imagenet":
            self.stem, self.pool = convolve(in_channels, width, (7, 7), strides=2), _pool
        else:
            raise ValueError(f"stem must be 'cifar' or 'imagenet', got {stem!r}")
        self.stem_norm = normalize(width)
        blocks, features = [], width
        for stage, count in enumerate(self.layers):
            for index in range(count):
                strides = 2 if stage > 0 and index == 0 else 1
                blocks.append(self.block(features, width * 2**stage, strides, convolve, normalize))
                features = self.block.expansion * width * 2**stage
        self.blocks = nnx.List(blocks)
        self.readout = nnx.Linear(features, num_classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C) to scores (B, num_classes)."""
        check_images(x, self.stem.in_features)
        x = self.pool(nnx.relu(self.stem_norm(self.stem(x))))
        for block in self.blocks:
            x = block(x)
        return self.readout(jnp.mean(x, axis=(1, 2)))


class ResNet18(_ResNet):
    """The 18-layer residual network.

    Four stages of 2 basic blocks, each two 3×3 convolutions and a shortcut, which is a 1×1
    convolution where the shape changes; then the mean over the map and a linear read-out. He,
    Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016. Convolutions carry no
    bias and start from He's normal distribution with fan-out; the read-out starts from LeCun's.

    With the defaults it has 11,173,962 parameters. Stem and its norm: 27·64 + 2·64 = 1,856. A block
    that keeps its c channels has 18c² + 4c; one that comes from c/2 has 14c² + 6c, shortcut
    included. Stages of c = 64, 128, 256, 512: 147,968 + 525,568 + 2,099,712 + 8,393,728. Read-out:
    513·10 = 5,130. The ImageNet stem adds (49 − 9)·3·64 = 7,680, for 11,689,512 with 1000 classes.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      width: channels of the first stage; the others have 2, 4 and 8 times as many.
      norm: normalisation after each convolution, "batch", "group", "instance" or "none".
      stem: "cifar", one 3×3 convolution of stride 1, or "imagenet", one 7×7 convolution of stride
        2 and 3×3 max-pooling of stride 2.
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm or stem is none of these, or, in a call, x is no batch of images with
        in_channels channels.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = nnx.eval_shape(lambda: jn.models.ResNet18(rngs=nnx.Rngs(0)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
      11173962
    """

    layers, block = (2, 2, 2, 2), _BasicBlock


class ResNet34(_ResNet):
    """The 34-layer residual network.

    The blocks, initial distributions and arguments of `ResNet18`, with 3, 4, 6 and 3 blocks in its
    stages. He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016.

    With the defaults it has 21,282,122 parameters. Stem and its norm: 1,856. A block that keeps its
    c channels has 18c² + 4c; the first one of a later stage 14c² + 6c. Stages: 221,952 + 1,116,416
    + 6,822,400 + 13,114,368. Read-out: 5,130. The ImageNet stem adds 7,680, for 21,797,672 with
    1000 classes.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      width: channels of the first stage; the others have 2, 4 and 8 times as many.
      norm: normalisation after each convolution, "batch", "group", "instance" or "none".
      stem: "cifar", one 3×3 convolution of stride 1, or "imagenet", one 7×7 convolution of stride
        2 and 3×3 max-pooling of stride 2.
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm or stem is none of these, or, in a call, x is no batch of images with
        in_channels channels.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = nnx.eval_shape(lambda: jn.models.ResNet34(rngs=nnx.Rngs(0)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
      21282122
    """

    layers, block = (3, 4, 6, 3), _BasicBlock


class ResNet101(_ResNet):
    """The 101-layer residual network.

    Stages of 3, 4, 23 and 3 bottleneck blocks: a 1×1 convolution to c channels, a 3×3 one and a 1×1
    one to 4c, and a shortcut as in `ResNet18`. He, Zhang, Ren, Sun, "Deep Residual Learning for
    Image Recognition", 2016; the stride is in the 3×3 convolution, as in PyTorch's network, and not
    in the 1×1 one before it. Convolutions carry no bias and start from He's normal distribution
    with fan-out; the read-out starts from LeCun's.

    With the defaults it has 42,512,970 parameters. Stem and its norm: 1,856. A block that keeps its
    4c channels has 17c² + 12c; the first one of stage 1, which comes from c, has 18c² + 20c, and
    those of later stages, which come from 2c, have 23c² + 20c. Stages of c = 64, 128, 256, 512:
    215,808 + 1,219,584 + 26,090,496 + 14,964,736. Read-out: 2,049·10 = 20,490. The ImageNet stem
    adds 7,680, for 44,549,160 with 1000 classes.

    Args:
      num_classes: number of scores per example.
      in_channels: channels of the images.
      width: channels c of the first stage; the others have 2, 4 and 8 times as many.
      norm: normalisation after each convolution, "batch", "group", "instance" or "none".
      stem: "cifar", one 3×3 convolution of stride 1, or "imagenet", one 7×7 convolution of stride
        2 and 3×3 max-pooling of stride 2.
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm or stem is none of these, or, in a call, x is no batch of images with
        in_channels channels.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = nnx.eval_shape(lambda: jn.models.ResNet101(rngs=nnx.Rngs(0)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
      42512970
    """

    layers, block = (3, 4, 23, 3), _Bottleneck
