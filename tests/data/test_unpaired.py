"""Windows at random places, and sets that have nothing to do with each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise.data import compose, random_flip, random_window, separately, unpaired


@pytest.mark.parametrize(
    ("shape", "size", "window"),
    [((200, 5, 4, 2), 3, (3, 3)), ((60, 3, 5, 4, 1), (2, 5, 3), (2, 5, 3))],
)
def test_windows_are_cut_at_all_places(shape, size, window):
    images = np.arange(np.prod(shape)).reshape(shape)
    cut = np.asarray(random_window(jax.random.key(0), images, size))
    assert cut.shape == (shape[0], *window, shape[-1])
    places = set()
    for image, part in zip(images, cut, strict=True):
        place = tuple(int(i[0]) for i in np.nonzero(image == part[(0,) * part.ndim])[:-1])
        slices = tuple(slice(p, p + w) for p, w in zip(place, window, strict=True))
        np.testing.assert_array_equal(image[slices], part)
        places.add(place)
    count = np.prod([n - w + 1 for n, w in zip(shape[1:-1], window, strict=True)])
    assert len(places) == count


def test_a_whole_image_is_its_only_window():
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 1))
    np.testing.assert_allclose(random_window(jax.random.key(0), images, (3, 4)), images, rtol=1e-6)


def test_labels_stay_with_their_images():
    image = np.random.default_rng(0).integers(0, 255, (4, 9, 8, 1))
    batch = {"image": image, "label": image[..., 0], "class": np.arange(4)}
    cut = random_window(jax.random.key(0), batch, 5)
    np.testing.assert_array_equal(cut["label"], cut["image"][..., 0])
    np.testing.assert_array_equal(cut["class"], batch["class"])


@pytest.mark.parametrize("size", [6, 0, (5, 5, 5), (5, 6)])
def test_windows_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match=r"size must fit into images of sides \(5, 5\)"):
        random_window(jax.random.key(0), jnp.zeros((1, 5, 5, 1)), size)


def test_sets_are_drawn_independently_with_replacement():
    augment = unpaired({"a": jnp.arange(4), "b": {"x": jnp.arange(6), "y": -jnp.arange(6)}})
    batch = augment(jax.random.key(0), {"index": jnp.arange(24_000)})
    np.testing.assert_array_equal(batch["index"], np.arange(24_000))
    np.testing.assert_array_equal(batch["b"]["x"], -batch["b"]["y"])
    pairs = np.zeros((4, 6))
    np.add.at(pairs, (batch["a"], batch["b"]["x"]), 1)
    np.testing.assert_allclose(pairs, 1000, atol=4.5 * np.sqrt(1000))


def test_entries_are_augmented_with_keys_of_their_own():
    images = np.random.default_rng(0).normal(size=(40, 2, 3, 1)).astype(np.float32)
    batch = separately(random_flip)(jax.random.key(0), {"image": images, "label": images})
    flipped = {name: np.any(np.asarray(x) != images, axis=(1, 2, 3)) for name, x in batch.items()}
    assert 0.2 < np.mean(flipped["image"] == flipped["label"]) < 0.8
    for name, x in batch.items():
        expected = np.where(flipped[name][:, None, None, None], images[:, :, ::-1], images)
        np.testing.assert_array_equal(x, expected)


def test_other_sets_compile_nothing():
    run = jax.jit(lambda augment, key, batch: augment(key, batch))
    for value in (1.0, 2.0):
        augment = compose(unpaired({"label": jnp.full((3, 4, 4, 1), value)}), random_flip)
        batch = run(augment, jax.random.key(0), {"image": jnp.zeros((2, 4, 4, 1))})
        np.testing.assert_array_equal(batch["label"], value)
    assert run._cache_size() == 1


def test_bad_sets_are_refused():
    with pytest.raises(ValueError, match="label holds no examples"):
        unpaired({"label": jnp.zeros((0, 4))})
    with pytest.raises(ValueError, match="the batch has image already"):
        unpaired({"image": jnp.zeros(3)})(jax.random.key(0), {"image": jnp.zeros(2)})
