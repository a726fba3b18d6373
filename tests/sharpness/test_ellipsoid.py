import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from jaxnoise.sharpness._ellipsoid import project_on_ellipsoid, uniform_in_ball

pytestmark = pytest.mark.usefixtures("strict_promotion")

SIZE = 6
project = jax.jit(project_on_ellipsoid)


def slow_projection(z, scale, radius):
    """By a root finder in log λ: x = z / (1 + 2λ/s²)."""
    free = scale > 0
    norm = np.linalg.norm(z[free] / scale[free])
    if norm <= radius:
        return np.where(free, z, 0)

    def point(log_multiplier):
        with np.errstate(divide="ignore"):
            return np.where(free, z / (1 + 2 * np.exp(log_multiplier) / scale**2), 0)

    def excess(log_multiplier):
        return np.log(np.linalg.norm(point(log_multiplier)[free] / scale[free]) / radius)

    return point(brentq(excess, -80, 80, xtol=1e-13))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    log_spread=st.floats(0, 5),
    radius=st.floats(1e-3, 10),
    zeros=st.integers(0, SIZE - 1),
)
def test_nearest_point_of_the_ellipsoid(seed, log_spread, radius, zeros):
    rng = np.random.default_rng(seed)
    scale = 10 ** (log_spread * rng.normal(size=SIZE) / 2)
    z = scale * rng.normal(size=SIZE)
    scale[:zeros] = 0
    with jax.enable_x64(True):
        found = project(z, scale, radius)
    expected = slow_projection(z, scale, radius)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e8])
def test_single_precision(scale):
    z = np.array([3.0, -4.0, 0.0, 1e-3, 5.0, 0.0], np.float32) * np.float32(scale)
    scales = np.array([1.0, 2.0, 1.0, 1e-3, 0.0, 0.0], np.float32) * np.float32(scale)
    found = project(z, scales, np.float32(0.5))
    expected = slow_projection(z.astype(float), scales.astype(float), 0.5)
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_uniform_in_the_ball():
    points = np.asarray(uniform_in_ball(jax.random.key(0), (4000, 3), np.dtype("float32")))
    radii = np.linalg.norm(points, axis=1)
    assert radii.max() <= 1 + 1e-6
    np.testing.assert_allclose(np.mean(radii**3), 0.5, atol=0.02)  # the volume is uniform
    np.testing.assert_allclose(points.mean(0), 0, atol=0.03)
