"""The pool of older images against one image after another in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnoise.training import image_pool
from jaxnoise.training._image_pool import query

QUERY = jax.jit(query)


def slow_query(key, stored, size, images):
    """The rule as a list, with the same draws."""
    shown = []
    for image_key, image in zip(jax.random.split(key, len(images)), images, strict=True):
        coin_key, slot_key = jax.random.split(image_key)
        if len(stored) < size:
            stored.append(image)
            shown.append(image)
        elif jax.random.bernoulli(coin_key):
            slot = int(jax.random.randint(slot_key, (), 0, size))
            shown.append(stored[slot])
            stored[slot] = image
        else:
            shown.append(image)
    return shown


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.sampled_from([1, 4]), st.integers(0, 1000))
def test_pool_is_its_rule(size, seed):
    pool, stored = image_pool(jnp.zeros(2), size), []
    made = np.random.default_rng(seed).normal(size=(12, 3, 2)).astype(np.float32)
    for key, images in zip(jax.random.split(jax.random.key(seed), 12), made, strict=True):
        shown, pool = QUERY(key, pool, images)
        np.testing.assert_array_equal(shown, slow_query(key, stored, size, images))
        assert pool.count == len(stored)
        np.testing.assert_array_equal(pool.images[: len(stored)], stored)


def test_half_of_the_images_shown_are_older_and_all_places_are_used():
    """Of images numbered 0, 1, 2, … that many are not the one just made."""
    size, steps = 10, 4000
    numbers = jnp.arange(float(steps))
    keys = jax.random.split(jax.random.key(0), steps)

    @jax.jit
    def run():
        def step(pool, inputs):
            key, number = inputs
            shown, pool = query(key, pool, number[None])
            return pool, shown[0]

        return jax.lax.scan(step, image_pool(jnp.zeros(()), size), (keys, numbers))

    pool, shown = run()
    older = np.asarray(shown != numbers)[size:]
    assert not np.any(shown[:size] != numbers[:size])
    assert abs(older.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(older))
    ages = np.asarray(numbers - shown)[size:][older]
    np.testing.assert_allclose(ages.mean(), 2 * size, rtol=0.1)  # a step replaces 1/2 in `size`
    assert len(np.unique(pool.images)) == size


def test_replicas_have_pools_of_their_own():
    keys = jax.random.split(jax.random.key(0), 3)
    images = jnp.arange(12.0).reshape(3, 2, 2)
    pool = jax.vmap(lambda image: image_pool(image[0], 1))(images)
    shown, pools = jax.vmap(query)(keys, pool, images)
    for i in range(3):
        alone, left = QUERY(keys[i], image_pool(images[i, 0], 1), images[i])
        np.testing.assert_array_equal(shown[i], alone)
        np.testing.assert_array_equal(pools.images[i], left.images)


def test_a_pool_of_no_images_passes_all_through():
    images = jnp.ones((2, 3))
    shown, pool = query(jax.random.key(0), image_pool(images[0], 0), images)
    assert shown is images
    assert pool.images.shape == (0, 3)
    with pytest.raises(ValueError, match="size must be at least 0, got -1"):
        image_pool(images[0], -1)
