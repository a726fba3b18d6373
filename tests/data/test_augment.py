"""Augmentation against slow NumPy twins and what must stay the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnoise.data import (
    _rotation,
    compose,
    random_crop,
    random_flip,
    random_quarter_turns,
    random_rotation,
)

ALL = {
    "crop": random_crop,
    "flip": partial(random_flip, axes=(1, 2)),
    "quarter_turns": random_quarter_turns,
    "rotation": partial(random_rotation, max_degrees=40.0),
    "composed": compose(random_crop, random_flip, random_quarter_turns),
}
COMPILED = {name: jax.jit(augment) for name, augment in ALL.items()}
every = pytest.mark.parametrize("name", ALL)


def stack(dtype="uint8", shape=(24, 8, 8, 3), seed=0):
    return np.random.default_rng(seed).integers(1, 256, shape).astype(dtype)


# --- what holds for all ------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "bfloat16", "bool"])
def test_shape_and_dtype_are_kept(name, dtype):
    images = stack().astype(jnp.dtype(dtype))
    out = jax.eval_shape(ALL[name], jax.random.key(1), images)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


@every
def test_deterministic_in_the_key_and_the_same_when_compiled(name):
    images = stack()
    out = ALL[name](jax.random.key(2), images)
    for _ in range(2):
        np.testing.assert_array_equal(COMPILED[name](jax.random.key(2), images), out)
    assert (COMPILED[name](jax.random.key(3), images) != out).any()


@every
def test_inside_scan_and_vmap(name):
    images, keys = stack(), jax.random.split(jax.random.key(4), (2, 3))

    def three(carry, keys):
        return carry, jax.vmap(ALL[name], (0, None))(keys, images)

    _, out = jax.lax.scan(three, 0, jax.random.clone(keys))
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(out[i, j], COMPILED[name](keys[i, j], images))


@every
def test_examples_are_drawn_independently(name):
    same = np.broadcast_to(stack(shape=(1, 8, 8, 3)), (24, 8, 8, 3))
    out = np.asarray(COMPILED[name](jax.random.key(5), same))
    assert len(np.unique(out.reshape(24, -1), axis=0)) > 3


def test_no_key_is_used_twice():
    augment = compose(*ALL.values())
    with jax.debug_key_reuse(True):
        jax.jit(augment)(jax.random.key(6), stack())


@every
def test_batch_leaves_are_aligned(name):
    images = stack(shape=(24, 8, 8, 1))
    batch = {
        "image": jnp.repeat(images, 3, axis=-1),
        "target": {"map": images, "without_channel": images[..., 0]},
        "label": np.arange(24),
        "features": stack("float32", (24, 8)),
        "other": stack("float32", (24, 5, 5)),
    }
    out = COMPILED[name](jax.random.key(7), batch)
    assert jax.tree.structure(out) == jax.tree.structure(batch)
    for channel in range(3):
        np.testing.assert_array_equal(out["image"][..., channel], out["target"]["map"][..., 0])
    np.testing.assert_array_equal(out["target"]["without_channel"], out["target"]["map"][..., 0])
    assert (out["image"] != batch["image"]).any()
    for key in ("label", "features", "other"):
        np.testing.assert_array_equal(out[key], batch[key])
    alone = COMPILED[name](jax.random.key(7), np.asarray(batch["image"]))
    np.testing.assert_array_equal(out["image"], alone)


@every
def test_volumes_and_their_label_maps(name):
    volumes = stack("float32", (6, 5, 8, 8, 1))
    batch = {"image": volumes, "mask": volumes[..., 0].astype(np.uint8), "label": np.arange(6)}
    out = COMPILED[name](jax.random.key(8), batch)
    assert out["image"].shape == volumes.shape
    np.testing.assert_array_equal(out["label"], batch["label"])
    if name == "rotation":  # interpolates images, not masks
        assert set(np.unique(out["mask"])) <= {0, *np.unique(batch["mask"])}
    else:
        np.testing.assert_array_equal(out["mask"], out["image"][..., 0])


@every
def test_nothing_to_augment(name):
    for batch in ({"label": jnp.zeros(3)}, jnp.zeros((3, 8, 8)), {}):
        with pytest.raises(ValueError, match="images must be"):
            ALL[name](jax.random.key(0), batch)
    with pytest.raises(ValueError, match="images must be"):
        ALL[name](jax.random.key(0), [jnp.zeros((3, 8, 8, 1)), jnp.zeros((2, 8, 8, 1))])


# --- each by itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [1, 3])
def test_crop_is_a_window_of_the_padded_image(padding):
    images = stack(shape=(200, 5, 6, 2))
    out = np.asarray(random_crop(jax.random.key(0), images, padding))
    offsets = []
    for image, cropped in zip(images, out, strict=True):
        padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
        fits = [
            (row, column)
            for row in range(2 * padding + 1)
            for column in range(2 * padding + 1)
            if np.array_equal(padded[row : row + 5, column : column + 6], cropped)
        ]
        assert len(fits) == 1
        offsets += fits
    if padding == 1:  # all nine occur, each with probability 1/9: about 22 times
        _, counts = np.unique(offsets, axis=0, return_counts=True)
        assert len(counts) == 9
        assert counts.min() >= 8


def test_crop_without_padding_and_with_less_than_none():
    images = stack()
    np.testing.assert_array_equal(random_crop(jax.random.key(0), images, 0), images)
    with pytest.raises(ValueError, match="padding must not be negative, got -1"):
        random_crop(jax.random.key(0), images, -1)


def test_flip_mirrors_half_of_the_examples():
    images = stack(shape=(200, 4, 5, 2))

    def flip(images, **options):
        return random_flip(jax.random.key(1), images, **options)

    out = np.asarray(flip(images))
    mirrored = (out != images).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(out[mirrored], images[mirrored][:, :, ::-1])
    assert 70 <= mirrored.sum() <= 130
    np.testing.assert_array_equal(flip(out), images)  # the same draws undo it
    np.testing.assert_array_equal(flip(images, axes=(2,)), out)
    np.testing.assert_array_equal(flip(images, axes=()), images)


def test_flip_along_both_axes_is_independent():
    images = stack(shape=(400, 3, 3, 1))
    out = np.asarray(random_flip(jax.random.key(2), images, axes=(-3, -2)))
    variants = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    counts = [(out == variant).all(axis=(1, 2, 3)).sum() for variant in variants]
    assert sum(counts) == 400
    assert min(counts) >= 65


@pytest.mark.parametrize("axis", [0, 3, -1, -4, 4, -5])
def test_flip_refuses_axes_that_are_not_spatial(axis):
    with pytest.raises(ValueError, match=f"axes: {axis} is no spatial axis"):
        random_flip(jax.random.key(0), stack(), axes=(axis,))


def test_quarter_turns_are_those_of_numpy():
    images = stack(shape=(400, 3, 3, 2))
    out = np.asarray(random_quarter_turns(jax.random.key(3), images))
    counts = [(out == np.rot90(images, k, (1, 2))).all(axis=(1, 2, 3)).sum() for k in range(4)]
    assert sum(counts) == 400
    assert min(counts) >= 65
    volumes = stack(shape=(1, 2, 3, 3, 1))
    turned = np.asarray(random_quarter_turns(jax.random.key(0), volumes))
    assert any(np.array_equal(turned, np.rot90(volumes, k, (2, 3))) for k in range(4))
    with pytest.raises(ValueError, match="square"):
        random_quarter_turns(jax.random.key(0), stack(shape=(2, 4, 5, 1)))


def test_quarter_turns_and_flips_make_all_eight_symmetries():
    image = np.arange(9.0).reshape(1, 3, 3, 1)
    augment = compose(random_quarter_turns, random_flip)
    out = np.asarray(augment(jax.random.key(4), np.repeat(image, 400, axis=0)))
    _, counts = np.unique(out.reshape(400, 9), axis=0, return_counts=True)
    assert len(counts) == 8
    assert counts.min() >= 25


def _rotated(image, degrees, fill):
    """One channel, pixel by pixel: where it comes from, and the mean of the four pixels there."""
    height, width = image.shape
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out = np.zeros(image.shape)
    for i in range(height):
        for j in range(width):
            up, right = (height - 1) / 2 - i, j - (width - 1) / 2
            # (right, up) is where the pixel has come to, turned back by the angle it came from.
            from_right, from_up = cos * right + sin * up, cos * up - sin * right
            row, column = (height - 1) / 2 - from_up, from_right + (width - 1) / 2
            for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                    weight = (1 - abs(row - r)) * (1 - abs(column - c))
                    inside = 0 <= r < height and 0 <= c < width
                    if inside or fill == "nearest":
                        value = image[np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)]
                        out[i, j] += weight * value
    return out


@pytest.mark.parametrize("fill", ["zero", "nearest"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_rotation_against_its_twin(fill, dtype):
    images, key = stack(dtype, (5, 6, 9, 2)), jax.random.key(5)
    out = np.asarray(random_rotation(jax.random.clone(key), images, 60.0, fill=fill))
    for example, drawn in enumerate(jax.random.split(key, 5)):
        degrees = float(60 * jax.random.uniform(drawn, minval=-1.0, maxval=1.0))
        for channel in range(2):
            twin = _rotated(images[example, ..., channel].astype(float), degrees, fill)
            atol = 1e-2 if dtype == "float32" else 0.51
            np.testing.assert_allclose(out[example, ..., channel], twin, atol=atol)


def test_rotation_by_90_degrees_is_a_quarter_turn(monkeypatch):
    monkeypatch.setattr(_rotation, "_angle", lambda key, max_degrees: jnp.float32(jnp.pi / 2))
    images = stack(shape=(3, 7, 7, 2))
    out = random_rotation(jax.random.key(0), images)
    np.testing.assert_array_equal(out, np.rot90(images, 1, (1, 2)))


def test_rotation_keeps_the_labels_of_a_map():
    classes = np.random.default_rng(0).choice([0, 7, 200], (6, 16, 16)).astype(np.uint8)
    batch = {"image": classes[..., None], "label": classes, "instances": classes[..., None]}
    out = random_rotation(jax.random.key(6), batch, 45.0, labels=("label", "instances"))
    assert set(np.unique(out["label"])) <= {0, 7, 200}
    assert set(np.unique(out["instances"])) <= {0, 7, 200}
    assert len(np.unique(out["image"])) > 3
    np.testing.assert_array_equal(out["label"], out["instances"][..., 0])


def test_rotation_by_nothing_by_a_tracer_and_with_an_unknown_fill():
    images = stack()

    def rotate(degrees):
        return random_rotation(jax.random.key(7), images, degrees)

    np.testing.assert_array_equal(rotate(0.0), images)
    np.testing.assert_array_equal(jax.jit(rotate)(30.0), rotate(30.0))
    with pytest.raises(ValueError, match="fill must be"):
        random_rotation(jax.random.key(7), images, fill="mirror")


def test_compose_gives_each_a_key_of_its_own():
    seen = []

    def note(key, batch):
        seen.append(jax.random.key_data(key).tolist())
        return batch + 1

    out = compose(note, note, note)(jax.random.key(8), jnp.zeros(2))
    np.testing.assert_array_equal(out, [3, 3])
    assert len({tuple(key) for key in seen}) == 3
    images = stack()
    assert compose()(jax.random.key(0), images) is images
