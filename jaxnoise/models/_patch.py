"""The discriminator that judges images patch by patch."""

from __future__ import annotations

import jax
from flax import nnx
from jax.typing import DTypeLike

from ._blocks import Norm, conv
from ._shapes import check_images, check_sizes, cube
from ._translation import Layer


class PatchDiscriminator(nnx.Module):
    """The discriminator of pix2pix and CycleGAN, which judges overlapping patches of an image.

    Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks",
    2017. 4×4 convolutions with one zero on every side: `layers` of stride 2 to
    width·min(2^layer, 8) channels, one of stride 1 that doubles the channels again, up to 8 widths,
    LeakyReLU of slope 0.2 after each and normalisation before it except in the first; then one of
    stride 1 to a linear score. With three layers a score sees 70×70 pixels. Convolutions have a
    bias where no scale and bias of a normalisation follow; instance normalisation has none. Kernels
    start from N(0, 0.02²), biases at zero, scales at one (in the reference implementation from
    N(1, 0.02²)).

    With the defaults it has 2,764,737 parameters, (16a + 1)·b for each convolution from a to b
    channels, which are 3, 64, 128, 256, 512 and 1. With batch normalisation and 6 channels, those
    of a pair of images, it has 2,768,705: 16·3·64 more in the first convolution and one more for
    each of the 128 + 256 + 512 channels, whose bias gives way to a scale and a bias.

    Args:
      in_channels: channels of the images.
      width: channels after the first convolution.
      ndim: 2 for images, 3 for volumes; all kernels have as many dimensions.
      layers: number of convolutions of stride 2.
      norm: normalisation, "batch", "group", "instance" or "none".
      dtype: dtype of the computation; None promotes those of inputs and parameters.
      rngs: source of the initial kernels.

    Raises:
      ValueError: if norm, ndim or layers is none of these, or, in a call, if a side of the images
        is below 3·2^layers, for which there is no score.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> model = jn.models.PatchDiscriminator(width=2, layers=1, rngs=nnx.Rngs(0))
      >>> model(jnp.zeros((1, 8, 8, 3))).shape
      (1, 2, 2, 1)
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int = 64,
        ndim: int = 2,
        layers: int = 3,
        norm: Norm = "instance",
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes(rngs, in_channels=in_channels, width=width, layers=layers)

        def layer(inputs: int, outputs: int, strides: int, norm: Norm) -> Layer:
            options = {"strides": strides, "padding": 1, "dtype": dtype, "rngs": rngs}
            return Layer(conv, inputs, outputs, cube(4, ndim), norm=norm, **options)

        features = [width * min(2**index, 8) for index in range(layers + 1)]
        self.ndim, self.in_channels = ndim, in_channels
        self.least = 3 * 2**layers
        self.stack = nnx.List(
            [
                layer(in_channels, width, 2, "none"),
                *[layer(features[i - 1], features[i], 2, norm) for i in range(1, layers)],
                layer(features[-2], features[-1], 1, norm),
            ]
        )
        self.readout = layer(features[-1], 1, 1, "none")

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (B, H, W, in_channels) to scores (B, H', W', 1), H' = ⌊H/2^layers⌋ − 2."""
        check_images(x, self.in_channels, ndim=self.ndim, least=self.least)
        for layer in self.stack:
            x = nnx.leaky_relu(layer(x), 0.2)
        return self.readout(x)
