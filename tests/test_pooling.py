import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxnoise._pooling import max_pool

pytestmark = pytest.mark.usefixtures("strict_promotion")


def slow_pool(x, window):
    """(values, index of the entry that each is), the first of equal entries, NaN before any."""
    counts = [n // size for n, size in zip(x.shape, window, strict=True)]
    values, chosen = np.empty(counts), np.empty([*counts, x.ndim], int)
    for place in np.ndindex(*counts):
        start = np.multiply(place, window)
        entries = [tuple(start + offset) for offset in np.ndindex(*window)]
        best = np.argmax([x[entry] for entry in entries])
        values[place], chosen[place] = x[entries[best]], entries[best]
    return values, chosen


def slow_gradient(x, window, cotangent):
    gradient = np.zeros(x.shape)
    _, chosen = slow_pool(x, window)
    for place in np.ndindex(*cotangent.shape):
        gradient[tuple(chosen[place])] += cotangent[place]
    return gradient


def by_xla(x, window):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def drawn(kind, shape, seed=0):
    rng = np.random.default_rng(seed)
    x = {
        "distinct": rng.permutation(np.prod(shape)).reshape(shape) - 20.0,
        "ties": rng.integers(-1, 2, shape),
        "equal": np.zeros(shape),
        "infinite": rng.choice([-np.inf, np.inf, 0], shape),
        "NaN": np.where(rng.random(shape) < 0.2, np.nan, rng.integers(-1, 2, shape)),
    }[kind]
    return x.astype(np.float32)


KINDS = ["distinct", "ties", "equal", "infinite", "NaN"]
CASES = [
    ((2, 5, 3), (1, 2, 1)),
    ((2, 4, 7, 2), (1, 2, 2, 1)),
    ((1, 7, 6, 2), (1, 3, 2, 1)),
    ((2, 5, 4, 3, 2), (1, 2, 2, 2, 1)),
    ((3, 4), (2, 3)),
]


@pytest.mark.parametrize(("shape", "window"), CASES)
def test_values_and_gradients(shape, window):
    pool = jax.jit(lambda x: max_pool(x, window))
    pull = jax.jit(lambda x, cotangent: jax.vjp(pool, x)[1](cotangent)[0])
    cotangent = np.random.default_rng(1).normal(size=pool(np.zeros(shape)).shape)
    cotangent = cotangent.astype(np.float32)
    for kind in KINDS:
        x = drawn(kind, shape)
        np.testing.assert_array_equal(pool(x), slow_pool(x, window)[0])
        np.testing.assert_array_equal(pull(x, cotangent), slow_gradient(x, window, cotangent))


@pytest.mark.parametrize(("shape", "window"), CASES)
def test_as_xla(shape, window):
    @jax.jit
    def both(x):
        results = []
        for pool in (max_pool, by_xla):
            y, pull = jax.vjp(lambda x: pool(x, window), x)  # noqa: B023
            results.append((y, pull(jnp.arange(1.0, y.size + 1).reshape(y.shape))[0]))
        return results

    for kind in KINDS:
        (ours, gradient), (theirs, their_gradient) = both(drawn(kind, shape))
        np.testing.assert_array_equal(ours, theirs)
        if kind != "NaN":
            np.testing.assert_array_equal(gradient, their_gradient)


@settings(deadline=None, max_examples=8)
@given(
    sides=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_any_window(sides, sizes, seed):
    """Windows larger than an axis leave nothing of it."""
    shape, window = (2, *sides), (1, *sizes[: len(sides)])
    x = drawn("ties", shape, seed)
    np.testing.assert_array_equal(max_pool(x, window), slow_pool(x, window)[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, bool, jnp.bfloat16, np.float16])
def test_dtypes(dtype):
    x = drawn("distinct", (2, 4, 3)).astype(dtype)
    pooled = max_pool(x, (1, 2, 1))
    assert pooled.dtype == dtype
    np.testing.assert_array_equal(pooled, x.reshape(2, 2, 2, 3).max(2))


def test_second_derivative_and_vmap():
    x = drawn("distinct", (3, 4, 2))
    cubes = lambda x: jnp.sum(max_pool(x, (2, 1)) ** 3)  # noqa: E731
    hessian = jax.vmap(jax.hessian(cubes))(x).reshape(3, 8, 8)
    is_chosen = [slow_gradient(image, (2, 1), np.ones((2, 2))).ravel() for image in x]
    expected = [
        np.diag(6 * image.ravel() * chosen) for image, chosen in zip(x, is_chosen, strict=True)
    ]
    np.testing.assert_array_equal(hessian, expected)
