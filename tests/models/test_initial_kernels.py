"""The initial kernels against Flax's, which draws them axis by axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnoise.models._initial_kernels import gan_normal, he_fan_in, he_fan_out

SHAPES = [(5, 3), (3, 3, 4, 8), (2, 3, 3, 2, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("own", "flax"),
    [
        (he_fan_in, nnx.initializers.he_normal()),
        (he_fan_out, nnx.initializers.variance_scaling(2.0, "fan_out", "normal")),
        (gan_normal, nnx.initializers.normal(0.02)),
    ],
)
def test_kernels_are_those_of_flax(own, flax, shape):
    key = jax.random.key(3)
    kernel = own(key, shape, jnp.float32)
    assert kernel.dtype == jnp.float32
    expected = flax(jax.random.clone(key), shape)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6, strict=True)


@pytest.mark.parametrize("own", [he_fan_in, he_fan_out, gan_normal])
def test_kernels_keep_the_precision_asked_for(own):
    assert own(jax.random.key(0), (3, 3, 2, 2), jnp.bfloat16).dtype == jnp.bfloat16
