"""Densely connected networks for small images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, normalization
from ._initial_kernels import he_fan_in
from ._shapes import check_images, check_sizes


class DenseNet121(nnx.Module):
    """The 121-layer densely connected network with a stem for small images.

    A 3×3 convolution to 2·growth channels and four blocks of 6, 12, 24 and 16 dense layers, each of
    which appends `growth` channels, computed from all the channels before it, to the map. Between
    blocks a transition halves the channels and the map; after the last come a norm, ReLU, the mean
    over the map and a linear read-out. Huang, Liu, van der Maaten, Weinberger, "Densely Connected
    Convolutional Networks", 2017. Convolutions carry no bias and start from He's normal
    distribution with fan-in, as `torch.nn.init.kaiming_normal_` draws by default and its reference
    does; the read-out starts from LeCun's.

    A dense layer on i channels has, with growth g, 2i + 4gi + 8g + 36g² parameters: 130i + 37,120
    for g = 32. A transition from i channels has 2i + i²/2. With the defaults, 6,956,298 parameters:
    the stem has 27·64 = 1,728; the blocks start from 64, 128, 256, 512 channels and have 335,040 +
    919,680 + 2,837,760 + 2,158,080; the transitions from 256, 512 and 1024 channels have 33,280 +
    132,096 + 526,336; the last norm has 2,048 and the read-out 1,025·10.

    Args:
      growth: channels that each dense layer appends.
      num_classes: number of scores per example.
      in_channels: channels of the images.
      norm: normalisation before each convolution, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None is that of inputs and parameters (float32) together.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm is none of these, or, in a call, x is no batch of images with in_channels
        channels and sides of at least 8 pixels.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = nnx.eval_shape(lambda: jn.models.DenseNet121(rngs=nnx.Rngs(0)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
      6956298
    """

    layers = (6, 12, 24, 16)

    def __init__(
        self,
        *,
        growth: int = 32,
        num_classes: int = 10,
        in_channels: int = 3,
        norm: Norm = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, growth=growth, num_classes=num_classes, in_channels=in_channels)
        convolve = partial(conv, use_bias=False, kernel_init=he_fan_in, dtype=dtype, rngs=rngs)
        normalize = partial(normalization, norm, dtype=dtype, rngs=rngs)
        features = 2 * growth
        self.stem = convolve(in_channels, features, (3, 3))
        blocks = []
        for index, count in enumerate(self.layers):
            if index > 0:
                blocks.append(_Transition(features, convolve, normalize))
                features //= 2
            for _ in range(count):
                blocks.append(_DenseLayer(features, growth, convolve, normalize))
                features += growth
        self.blocks = nnx.List(blocks)
        self.norm = normalize(features)
        self.readout = nnx.Linear(features, num_classes, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, C), H and W at least 8, to scores (B, num_classes)."""
        check_images(x, self.stem.in_features, least=8)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(jnp.mean(nnx.relu(self.norm(x)), axis=(1, 2)))


class _DenseLayer(nnx.Module):
    """Appends `growth` channels, by a 1×1 convolution to 4·growth and a 3×3 one."""

    def __init__(self, inputs: int, growth: int, convolve: Callable, normalize: Callable):
        self.norm1 = normalize(inputs)
        self.conv1 = convolve(inputs, 4 * growth, (1, 1))
        self.norm2 = normalize(4 * growth)
        self.conv2 = convolve(4 * growth, growth, (3, 3))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.conv1(nnx.relu(self.norm1(x)))
        y = self.conv2(nnx.relu(self.norm2(y)))
        return jnp.concatenate([x, y], axis=-1)


class _Transition(nnx.Module):
    """Halves the channels by a 1×1 convolution and the map by 2×2 average pooling."""

    def __init__(self, inputs: int, convolve: Callable, normalize: Callable):
        self.norm = normalize(inputs)
        self.conv = convolve(inputs, inputs // 2, (1, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(nnx.relu(self.norm(x)))
        return nnx.avg_pool(x, (2, 2), strides=(2, 2))
