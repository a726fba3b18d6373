"""U-Net, and the fully convolutional networks that keep only some of its skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, double, halve, normalization
from ._shapes import at_least, check_images, check_sizes, cube


class UShape(nnx.Module):
    """Encoder and decoder, with the encoder's features carried across at some levels.

    Args:
      in_channels: channels of the images.
      out_channels: channels of the output.
      channels: channels at each resolution, finest first; all but the last are levels.
      skips: one for each level: what the features pass on their way to the decoder, or None where
        they aren't carried across.
      ndim: 2 for images, 3 for volumes.
      norm: normalisation between convolutions and ReLU.
      dtype: of the computation.
      rngs: source of the initial kernels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        skips: Sequence[Callable | None],
        ndim: int,
        norm: Norm,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        def convolutions(inputs: int, outputs: int) -> _DoubleConv:
            return _DoubleConv(inputs, outputs, ndim=ndim, norm=norm, dtype=dtype, rngs=rngs)

        *levels, bottom = channels
        self.ndim, self.in_channels = ndim, in_channels
        self.skips = nnx.List(skips)
        inputs = [in_channels, *levels]
        self.encoder = nnx.List([convolutions(*pair) for pair in zip(inputs, levels, strict=False)])
        self.bottom = convolutions(inputs[-1], bottom)
        self.up = nnx.List(
            [
                double(coarse, fine, cube(2, ndim), dtype=dtype, rngs=rngs)
                for fine, coarse in zip(levels, channels[1:], strict=True)
            ]
        )
        self.decoder = nnx.List(
            [
                convolutions(features if skip is None else 2 * features, features)
                for features, skip in zip(levels, skips, strict=True)
            ]
        )
        self.readout = conv(channels[0], out_channels, cube(1, ndim), dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, in_channels) to images (B, H, W, out_channels)."""
        check_images(x, self.in_channels, ndim=self.ndim, multiple=2 ** len(self.encoder))
        features = []
        for block in self.encoder:
            features.append(block(x))
            x = halve(features[-1])
        x = self.bottom(x)
        for level in reversed(range(len(features))):
            x = self.up[level](x)
            if (skip := self.skips[level]) is not None:
                x = jnp.concatenate([skip(features[level]), x], axis=-1)
            x = self.decoder[level](x)
        return self.readout(x)


class UNet(UShape):
    """The U-Net: an encoder, a decoder, and skips between them at every resolution.

    Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    2015, with zero-padded convolutions, so that the output is as large as the input. At each
    level two 3×3 convolutions with ReLU; on the way down 2×2 max-pooling, on the way up a 2×2
    transposed convolution of stride 2 that halves the channels, to which the encoder's features
    are concatenated; a 1×1 convolution at the end. The output is linear. Kernels start from He's
    normal distribution with fan-in, the paper's √(2/N), biases at zero.

    With the defaults it has 31,030,593 parameters: a 3×3 convolution from a to b channels has
    (9a + 1)·b, which makes 18,842,048 for the encoder with 1, 64, 128, 256, 512 and 1024 channels
    and 9,402,240 for the decoder's with 1024, 512, 256, 128 and 64; the 2×2 ones have
    Σ (8b + 1)·b = 2,786,240 for b = 512, 256, 128 and 64; the last one 65.

    Args:
      in_channels: channels of the images.
      out_channels: channels of the output.
      width: channels at full resolution; they double with each level.
      ndim: 2 for images, 3 for volumes; all kernels have as many dimensions.
      levels: how often the resolution is halved.
      norm: normalisation after each 3×3 convolution, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm, ndim or levels is none of these, or, in a call, if a side of the images
        isn't a multiple of 2^levels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.UNet(width=2, levels=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 8, 8, 1))).shape
      (1, 8, 8, 1)
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 64,
        ndim: int = 2,
        levels: int = 4,
        norm: Norm = "none",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(
            rngs, in_channels=in_channels, out_channels=out_channels, width=width, levels=levels
        )
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            channels=[width * 2**level for level in range(levels + 1)],
            skips=[nnx.identity] * levels,
            ndim=ndim,
            norm=norm,
            dtype=dtype,
            rngs=rngs,
        )


class FCN(UShape):
    """A fully convolutional network: the U-Net with skips at low resolutions only.

    Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully Convolutional
    Networks", AAAI 2019: of the U-Net's skips FCN-16s keeps the one before the fourth pooling,
    FCN-8s those before the fourth and third, FCN-4s those before the fourth, third and second. The
    paper doesn't say how features are fused; concatenation after the up-convolution, as in the
    U-Net, is a choice made here. Kernels start from He's normal distribution with fan-in, biases
    at zero.

    A level of c channels without skip has 9c² parameters fewer than the U-Net's. Of the 31,030,593
    with the defaults 4s lacks 9·64², which leaves 30,993,729; 8s lacks 9·128² more, which leaves
    30,846,273; 16s lacks 9·256² more, which leaves 30,256,449.

    Args:
      skips: 16, 8 or 4 to keep the skips at the 1, 2 or 3 coarsest levels.
      in_channels: channels of the images.
      out_channels: channels of the output.
      width: channels at full resolution; they double with each level.
      ndim: 2 for images, 3 for volumes; all kernels have as many dimensions.
      levels: how often the resolution is halved; the paper's networks have 4.
      norm: normalisation after each 3×3 convolution, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if skips, norm, ndim or levels is none of these, or, in a call, if a side of the
        images isn't a multiple of 2^levels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.FCN(skips=16, width=2, levels=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 8, 8, 1))).shape
      (1, 8, 8, 1)
    """

    def __init__(
        self,
        *,
        skips: int = 16,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 64,
        ndim: int = 2,
        levels: int = 4,
        norm: Norm = "none",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        kept = {16: 1, 8: 2, 4: 3}.get(skips)
        if kept is None:
            raise ValueError(f"skips must be 16, 8 or 4, got {skips!r}")
        check_sizes(rngs, in_channels=in_channels, out_channels=out_channels, width=width)
        at_least(kept, levels=levels)
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            channels=[width * 2**level for level in range(levels + 1)],
            skips=[None] * (levels - kept) + [nnx.identity] * kept,
            ndim=ndim,
            norm=norm,
            dtype=dtype,
            rngs=rngs,
        )


class _DoubleConv(nnx.Module):
    """Two 3×3 convolutions, each with normalisation and ReLU."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        ndim: int,
        norm: Norm,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        kernel = cube(3, ndim)
        self.conv1 = conv(in_features, out_features, kernel, dtype=dtype, rngs=rngs)
        self.norm1 = normalization(norm, out_features, dtype=dtype, rngs=rngs)
        self.conv2 = conv(out_features, out_features, kernel, dtype=dtype, rngs=rngs)
        self.norm2 = normalization(norm, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(x)))
