"""The 3-D networks that segment nuclei, with and without skips."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, double, halve, normalization
from ._shapes import check_images, check_sizes, cube


class _Volumes(nnx.Module):
    """What the two networks share; with `skips` the encoder's features reach the decoder."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        width: int,
        levels: int,
        skips: bool,
        norm: Norm,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        check_sizes(
            rngs, in_channels=in_channels, out_channels=out_channels, width=width, levels=levels
        )

        def block(inputs: int, outputs: int) -> _Block:
            return _Block(inputs, outputs, norm=norm, dtype=dtype, rngs=rngs)

        channels = [width * 2**level for level in range(levels)]
        inputs = [in_channels, *channels]
        self.in_channels, self.skips = in_channels, skips
        self.encoder = nnx.List([block(*pair) for pair in zip(inputs, channels, strict=False)])
        self.bridge = block(channels[-1], 2 * channels[-1])
        self.up = nnx.List([_Up(c, norm=norm, dtype=dtype, rngs=rngs) for c in channels])
        self.decoder = nnx.List([block(2 * c if skips else c, c) for c in channels])
        self.readout = conv(width, out_channels, cube(3, 3), dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps volumes (B, D, H, W, in_channels) to (B, D, H, W, out_channels) between 0 and 1."""
        check_images(x, self.in_channels, ndim=3, multiple=2 ** len(self.encoder))
        features = []
        for block in self.encoder:
            features.append(block(x))
            x = halve(features[-1])
        x = self.bridge(x)
        for level in reversed(range(len(features))):
            x = self.up[level](x)
            if self.skips:
                x = jnp.concatenate([features[level], x], axis=-1)
            x = self.decoder[level](x)
        return nnx.sigmoid(self.readout(x))


class NucleiUNet(_Volumes):
    """The 3-D U-Net that segments nuclei in fluorescence microscopy.

    Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image Synthesis
    and Segmentation", CVPR Workshops 2018. A block is a 3×3×3 convolution, normalisation,
    LeakyReLU of slope 0.2, another convolution and normalisation. On the way down each block is
    followed by 2×2×2 max-pooling, on the way up a 3×3×3 transposed convolution of stride 2 with
    normalisation and LeakyReLU precedes it, to which the encoder's features are concatenated; at
    the end a 3×3×3 convolution and the sigmoid. The initialisation isn't published: here kernels
    start from He's normal distribution with fan-in, biases at zero.

    With the defaults it has 402,553 parameters. A convolution from a to b channels with its
    normalisation has (27a + 3)·b, so a block has (27a + 27b + 6)·b: 220,392 for the encoder's and
    the bridge with 1, 8, 16, 32 and 64 channels, 109,200 for the decoder's, which map 64, 32 and
    16 channels to half as many; the transposed convolutions from 2b to b channels have
    Σ (54b + 3)·b = 72,744 for b = 32, 16 and 8; the last convolution 217. With four levels there
    are 1,620,409.

    Args:
      in_channels: channels of the volumes.
      out_channels: channels of the output.
      width: channels at full resolution; they double with each level.
      levels: how often the resolution is halved.
      norm: normalisation, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm or levels is none of these, or, in a call, if a side of the volumes isn't
        a multiple of 2^levels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.NucleiUNet(width=2, levels=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 4, 4, 4, 1))).shape
      (1, 4, 4, 4, 1)
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 8,
        levels: int = 3,
        norm: Norm = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            levels=levels,
            skips=True,
            norm=norm,
            dtype=dtype,
            rngs=rngs,
        )


class EncoderDecoder(_Volumes):
    """`NucleiUNet` without its skips.

    All that the decoder learns of a volume passes its lowest resolution: the network to compare
    that of Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image
    Synthesis and Segmentation", CVPR Workshops 2018, with. The decoder's blocks see the
    up-convolution's channels alone. Kernels start from He's normal distribution with fan-in,
    biases at zero.

    With the defaults it has 366,265 parameters: those of `NucleiUNet`, 402,553, less 27·c² for
    each level of c = 8, 16 and 32 channels.

    Args:
      in_channels: channels of the volumes.
      out_channels: channels of the output.
      width: channels at full resolution; they double with each level.
      levels: how often the resolution is halved.
      norm: normalisation, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm or levels is none of these, or, in a call, if a side of the volumes isn't
        a multiple of 2^levels.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.EncoderDecoder(width=2, levels=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 4, 4, 4, 1))).shape
      (1, 4, 4, 4, 1)
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 8,
        levels: int = 3,
        norm: Norm = "batch",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            levels=levels,
            skips=False,
            norm=norm,
            dtype=dtype,
            rngs=rngs,
        )


class _Block(nnx.Module):
    """Convolution, normalisation, LeakyReLU, convolution, normalisation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        norm: Norm,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs,
    ):
        self.conv1 = conv(in_features, out_features, cube(3, 3), dtype=dtype, rngs=rngs)
        self.norm1 = normalization(norm, out_features, dtype=dtype, rngs=rngs)
        self.conv2 = conv(out_features, out_features, cube(3, 3), dtype=dtype, rngs=rngs)
        self.norm2 = normalization(norm, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.leaky_relu(self.norm1(self.conv1(x)), 0.2)
        return self.norm2(self.conv2(x))


class _Up(nnx.Module):
    """Transposed convolution that doubles the map and halves the channels to `features`."""

    def __init__(self, features: int, *, norm: Norm, dtype: DTypeLike | None, rngs: nnx.Rngs):
        self.conv = double(2 * features, features, cube(3, 3), dtype=dtype, rngs=rngs)
        self.norm = normalization(norm, features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.leaky_relu(self.norm(self.conv(x)), 0.2)
