"""Eigenvectors of the Hessian as directions."""

import jax
import numpy as np

from jaxnoise.landscape import loss_grid, loss_line
from jaxnoise.sharpness import hessian_eigenvalues

STEP = 1e-3


def test_curvature_along_eigenvectors(problem, x64):
    params, data = jax.tree.map(np.float64, (problem.params, problem.data))
    found = hessian_eigenvalues(
        problem.loss_fn, params, data, 2, key=jax.random.key(0), vectors=True, tolerance=1e-9
    )
    options = {"radius": STEP, "resolution": 3}
    f = loss_grid(problem.loss_fn, params, found.vectors, data, **options).values
    along = (f[2, 1] - 2 * f[1, 1] + f[0, 1], f[1, 2] - 2 * f[1, 1] + f[1, 0])
    np.testing.assert_allclose(np.array(along) / STEP**2, found.values, rtol=1e-4)
    mixed = (f[2, 2] - f[2, 0] - f[0, 2] + f[0, 0]) / (4 * STEP**2)
    assert abs(mixed) < 1e-3 * found.values[1]
    for k, value in enumerate(found.values):
        vector = jax.tree.map(lambda leaf: leaf[k], found.vectors)  # noqa: B023
        low, middle, high = loss_line(problem.loss_fn, params, vector, data, **options).values
        np.testing.assert_allclose((high - 2 * middle + low) / STEP**2, value, rtol=1e-4)
