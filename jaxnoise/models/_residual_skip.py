"""A U-Net with residual modules on its skips."""

from __future__ import annotations

import jax
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv, normalization
from ._shapes import check_sizes, cube
from ._unet import UShape


class ResidualSkipUNet(UShape):
    """A U-Net whose skips pass residual modules, most of them at full resolution.

    After Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully Convolutional
    Networks", AAAI 2019, who propose residual modules on the skips and fewer channels at low
    resolutions but don't publish the details. Chosen here: the features of level l, counted from
    full resolution, pass `levels` − l modules, each relu(x + F(x)) with F of two 3×3 convolutions
    and ReLU between them; the channels grow by two widths with each level, to width·(1, 2, 4, 6, 8)
    for four. All else is as in `UNet`. Kernels start from He's normal distribution with fan-in,
    biases at zero.

    With the defaults it has 21,332,673 parameters. A 3×3 convolution from a to b channels has
    (9a + 1)·b, which makes 7,486,656 for the encoder with 1, 64, 128, 256, 384 and 512
    channels, 6,305,408 for the decoder with 384, 256, 128 and 64, and 2·(9c + 1)·c for a residual
    module of c channels, 6,196,224 for the 4, 3, 2 and 1 modules; the 2×2 up-convolutions
    have Σ (4a + 1)·b = 1,344,320 for (a, b) = (512, 384), (384, 256), (256, 128) and (128, 64);
    the last convolution has 65.

    Args:
      in_channels: channels of the images.
      out_channels: channels of the output.
      width: channels at full resolution.
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
      >>> model = jn.models.ResidualSkipUNet(width=2, levels=1, rngs=nnx.Rngs(0))
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
        channels = [width * max(1, 2 * level) for level in range(levels + 1)]

        def module(features: int) -> _Residual:
            return _Residual(features, ndim=ndim, norm=norm, dtype=dtype, rngs=rngs)

        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            skips=[
                nnx.Sequential(*[module(channels[level]) for _ in range(levels - level)])
                for level in range(levels)
            ],
            ndim=ndim,
            norm=norm,
            dtype=dtype,
            rngs=rngs,
        )


class _Residual(nnx.Module):
    """Two 3×3 convolutions with ReLU, and the identity added before the second."""

    def __init__(
        self, features: int, *, ndim: int, norm: Norm, dtype: DTypeLike | None, rngs: nnx.Rngs
    ):
        kernel = cube(3, ndim)
        self.conv1 = conv(features, features, kernel, dtype=dtype, rngs=rngs)
        self.norm1 = normalization(norm, features, dtype=dtype, rngs=rngs)
        self.conv2 = conv(
            features, features, kernel, kernel_init=nnx.initializers.zeros, dtype=dtype, rngs=rngs
        )
        self.norm2 = normalization(norm, features, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(x + self.norm2(self.conv2(y)))
