"""Generators of image-to-image translation."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, double, normalization
from ._initial_kernels import gan_normal
from ._shapes import at_least, check_images, check_sizes, cube

_WITHOUT_BIAS = ("instance", "none")  # normalisations, after which a convolution needs its own


class Pix2PixGenerator(nnx.Module):
    """The U-Net of pix2pix, which halves images down to a pixel.

    Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
    2017. The encoder has `levels` 4×4 convolutions of stride 2, LeakyReLU of slope 0.2 before each
    but the first, and width·min(2^level, 8) channels; the decoder as many 4×4 transposed ones, ReLU
    before each, whose results are concatenated to the encoder's features; tanh at the end. All are
    normalised but the first, the innermost and the last. Dropout of one half follows the decoder's
    levels of 8·width channels, the innermost apart; in inference mode it is off, whereas the paper
    leaves it on as the generator's noise. Instance normalisation has no scale and bias; with
    another normalisation, as in the reference implementation, only the last convolution has a bias.
    Kernels start from N(0, 0.02²), biases at zero, scales at one (in the reference implementation
    from N(1, 0.02²)).

    With the defaults it has 54,413,955 parameters. Kernels from a to b channels have 16ab:
    19,532,800 in the encoder, whose channels are 3, 64, 128, 256 and five times 512, and
    34,871,296 in the decoder, which maps 512 channels to 512, three times 1024 to 512, then 1024
    to 256, 512 to 128, 256 to 64 and 128 to 3. Scales and biases are 2·(128 + 256 + 4·512) on the
    way down and 2·(4·512 + 256 + 128 + 64) on the way up; the last convolution has 3 biases.

    Args:
      in_channels: channels of the images.
      out_channels: channels of the output.
      width: channels after the first convolution.
      ndim: 2 for images, 3 for volumes; all kernels have as many dimensions.
      levels: how often the resolution is halved, at least 2.
      norm: normalisation, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels and of dropout.

    Raises:
      ValueError: if norm, ndim or levels is none of these, or, in a call, if a side of the images
        isn't a multiple of 2^levels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.Pix2PixGenerator(width=2, levels=2, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 8, 8, 3))).shape
      (1, 8, 8, 3)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        ndim: int = 2,
        levels: int = 8,
        norm: Norm = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, in_channels=in_channels, out_channels=out_channels, width=width)
        at_least(2, levels=levels)
        inner = range(1, levels - 1)
        features = [width * min(2**level, 8) for level in range(levels)]

        def down(inputs: int, outputs: int, normed: bool = True) -> Layer:
            own, bias = norm if normed else "none", norm in _WITHOUT_BIAS
            options = {"strides": 2, "padding": 1, "dtype": dtype, "rngs": rngs}
            return Layer(conv, inputs, outputs, cube(4, ndim), norm=own, use_bias=bias, **options)

        def up(inputs: int, outputs: int, norm: Norm) -> Layer:
            return Layer(double, inputs, outputs, cube(4, ndim), norm=norm, dtype=dtype, rngs=rngs)

        self.ndim, self.in_channels = ndim, in_channels
        self.down = nnx.List(
            [
                down(in_channels, width, normed=False),
                *[down(features[level - 1], features[level]) for level in inner],
                down(features[-2], features[-1], normed=False),
            ]
        )
        self.up = nnx.List(
            [
                up(2 * width, out_channels, "none"),
                *[up(2 * features[level], features[level - 1], norm) for level in inner],
                up(features[-1], features[-2], norm),
            ]
        )
        self.dropout = nnx.List(
            [
                nnx.Dropout(0.5, rngs=rngs) if 4 <= level < levels - 1 else nnx.identity
                for level in range(levels)
            ]
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, in_channels) to (B, H, W, out_channels) between −1 and 1."""
        check_images(x, self.in_channels, ndim=self.ndim, multiple=2 ** len(self.down))
        first, *others = self.down
        features = [first(x)]
        for layer in others:
            features.append(layer(nnx.leaky_relu(features[-1], 0.2)))
        x = features.pop()
        for level in reversed(range(1, len(self.up))):
            x = self.dropout[level](self.up[level](nnx.relu(x)))
            x = jnp.concatenate([features.pop(), x], axis=-1)
        return jnp.tanh(self.up[0](nnx.relu(x)))


class ResNetGenerator(nnx.Module):
    """The residual generator of CycleGAN.

    Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks", 2017, after Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer
    and Super-Resolution", 2016. A 7×7 convolution, two 3×3 ones of stride 2 that double the
    channels, `blocks` residual blocks of two 3×3 convolutions, two 3×3 transposed convolutions of
    stride 2 that halve the channels, and a 7×7 convolution with tanh. Convolutions of stride 1 see
    the image mirrored at its border. All but the last are normalised, with ReLU after it except
    at the end of a block. Convolutions have a bias where no scale and bias of a normalisation
    follow; instance normalisation has none. Kernels start from N(0, 0.02²), biases at zero, scales
    at one (in the reference implementation from N(1, 0.02²)).

    With the defaults it has 11,378,179 parameters: (49·3 + 1)·64 in the first convolution,
    (9·64 + 1)·128 + (9·128 + 1)·256 in those that halve, 9·2·(9·256 + 1)·256 in the blocks,
    (9·256 + 1)·128 + (9·128 + 1)·64 in those that double, (49·64 + 1)·3 in the last.

    Args:
      in_channels: channels of the images.
      out_channels: channels of the output.
      width: channels at full resolution.
      ndim: 2 for images, 3 for volumes; all kernels have as many dimensions.
      blocks: number of residual blocks; the paper has 6 for 128 pixels, 9 for 256.
      norm: normalisation, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm, ndim or blocks is none of these, or, in a call, if a side of the images
        isn't a multiple of 4 or is below 8.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.ResNetGenerator(width=2, blocks=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 8, 8, 3))).shape
      (1, 8, 8, 3)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        ndim: int = 2,
        blocks: int = 9,
        norm: Norm = "instance",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, in_channels=in_channels, out_channels=out_channels, width=width)
        at_least(0, blocks=blocks)

        def layer(
            make, inputs: int, outputs: int, size: int, norm: Norm = norm, **options
        ) -> Layer:
            kernel = cube(size, ndim)
            return Layer(
                make, inputs, outputs, kernel, norm=norm, dtype=dtype, rngs=rngs, **options
            )

        def mirrored(features: int) -> Layer:
            return layer(conv, features, features, 3, padding="reflect")

        self.ndim, self.in_channels = ndim, in_channels
        self.stem = layer(conv, in_channels, width, 7, padding="reflect")
        self.down = nnx.List(
            [layer(conv, c, 2 * c, 3, strides=2, padding=1) for c in (width, 2 * width)]
        )
        self.blocks = nnx.List(
            [nnx.List([mirrored(4 * width), mirrored(4 * width)]) for _ in range(blocks)]
        )
        self.up = nnx.List([layer(double, 2 * c, c, 3) for c in (2 * width, width)])
        self.readout = layer(conv, width, out_channels, 7, norm="none", padding="reflect")

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, in_channels) to (B, H, W, out_channels) between −1 and 1."""
        check_images(x, self.in_channels, ndim=self.ndim, multiple=4, least=8)
        x = nnx.relu(self.stem(x))
        for layer in self.down:
            x = nnx.relu(layer(x))
        for first, second in self.blocks:
            x = x + second(nnx.relu(first(x)))
        for layer in self.up:
            x = nnx.relu(layer(x))
        return jnp.tanh(self.readout(x))


class Layer(nnx.Module):
    """A convolution and its normalisation, only one of which has a bias unless said otherwise."""

    def __init__(
        self,
        make: Callable,
        in_features: int,
        out_features: int,
        kernel_size: tuple[int, ...],
        *,
        norm: Norm,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
        use_bias: bool | None = None,
        **options,
    ):
        self.conv = make(
            in_features,
            out_features,
            kernel_size,
            use_bias=norm in _WITHOUT_BIAS if use_bias is None else use_bias,
            kernel_init=gan_normal,
            dtype=dtype,
            rngs=rngs,
            **options,
        )
        affine = norm != "instance"
        self.norm = normalization(norm, out_features, affine=affine, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))
