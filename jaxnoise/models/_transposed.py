"""A transposed convolution layer that is as fast as the convolution it transposes."""

from __future__ import annotations

import math
from typing import Any

import jax
from flax import nnx

from .._convolution import conv_transpose


class ConvTranspose(nnx.ConvTranspose):
    """`flax.nnx.ConvTranspose`, computed by `jaxnoise.models.conv_transpose`.

    Args:
      args: as for `flax.nnx.ConvTranspose`.
      conv_transpose: what computes it, a function like `jax.lax.conv_transpose`.
      options: as for `flax.nnx.ConvTranspose`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> import jaxnoise as jn
      >>> layer = jn.models.ConvTranspose(2, 5, (2, 2), strides=(2, 2), rngs=nnx.Rngs(0))
      >>> layer(jnp.zeros((1, 4, 4, 2))).shape
      (1, 8, 8, 5)
    """

    def __init__(self, *args: Any, conv_transpose: Any = conv_transpose, **options: Any):
        super().__init__(*args, **options)
        self.conv_transpose = conv_transpose

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps (*batch, spatial…, in_features) to (*batch, spatial…, out_features)."""
        if self.padding == "CIRCULAR" or self.mask is not None:
            return super().__call__(inputs)
        spatial = len(self.kernel_size)
        kernel, bias = self.kernel[...], None if self.bias is None else self.bias[...]
        inputs, kernel, bias = self.promote_dtype((inputs, kernel, bias), dtype=self.dtype)
        batch = inputs.shape[: inputs.ndim - spatial - 1]
        y = self.conv_transpose(
            inputs.reshape(math.prod(batch), *inputs.shape[len(batch) :]),
            kernel,
            _each(self.strides, spatial),
            _pairs(self.padding, spatial),
            rhs_dilation=_each(self.kernel_dilation, spatial),
            transpose_kernel=self.transpose_kernel,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        y = y if bias is None else y + bias
        return y.reshape(*batch, *y.shape[1:])


def _each(steps: Any, spatial: int) -> tuple[int, ...]:
    return (steps or 1,) * spatial if isinstance(steps, int | None) else tuple(steps)


def _pairs(padding: Any, spatial: int) -> Any:
    if isinstance(padding, str):
        return padding
    sides = [padding] * spatial if isinstance(padding, int) else padding
    return [(side, side) if isinstance(side, int) else side for side in sides]
