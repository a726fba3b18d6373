"""Segmenting networks: losses, examples, blocks, one short training."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._common import open_curves
from experiments.nuclei3d import _unet
from experiments.nuclei3d._config import Config, plan_of
from experiments.nuclei3d._segment import probability, segmenter
from experiments.nuclei3d._unet import augmentation, examples, filled_up, segmentation_loss
from experiments.nuclei3d._variants import VARIANTS


def test_losses_are_weighted_by_the_batch():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (3, 2, 4, 4, 1))
    s = rng.integers(0, 2, (3, 2, 4, 4))
    weights = np.array([[1.0, 10.0], [1.0, 0.0], [0.0, 10.0]])
    batch = {"label": jnp.asarray(s > 0), "weights": jnp.asarray(weights, jnp.float32)}
    found = segmentation_loss(jnp.asarray(p, jnp.float32), batch)
    for i in range(3):
        q, t = p[i, ..., 0], s[i]
        dice = 2 * (q * t).sum() / ((q**2).sum() + (t**2).sum())
        bce = -np.mean(t * np.log(q) + (1 - t) * np.log(1 - q))
        expected = {"loss": -weights[i, 0] * dice + weights[i, 1] * bce, "dice": dice, "bce": bce}
        assert {name: float(values[i]) for name, values in found.items()} == pytest.approx(
            expected, rel=1e-5
        )


def test_examples_repeat_volumes_at_one_shape():
    images = [np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.full((3, 2, 2), 9, np.uint8)]
    labels = [image > 10 for image in images]
    found = examples(images, labels, (2, 2, 5), VARIANTS["bce"], 5)
    assert found["image"].shape == (5, 3, 3, 5, 1)
    assert found["label"].shape == (5, 3, 3, 5)
    for i in range(5):
        np.testing.assert_array_equal(
            found["image"][i, ..., 0], filled_up(images[i % 2], (3, 3, 5))
        )
        np.testing.assert_array_equal(found["label"][i], found["image"][i, ..., 0] > 10)
    np.testing.assert_array_equal(found["weights"], [[0, 10]] * 5)


def test_volumes_are_filled_up_with_their_mirror_image():
    volume = np.arange(3).reshape(1, 1, 3)
    np.testing.assert_array_equal(filled_up(volume, (1, 1, 5)), [[[0, 1, 2, 2, 1]]])


def test_blocks_are_cubes_of_the_volume_turned_and_mirrored_with_their_labels():
    volume = np.random.default_rng(0).permutation(6 * 7 * 8).reshape(6, 7, 8)
    batch = {"image": volume[None, ..., None], "label": volume[None], "weights": np.ones((1, 2))}
    program = jax.jit(augmentation(4))
    cubes = {
        np.sort(volume[z : z + 4, y : y + 4, x : x + 4].ravel()).tobytes(): (z, y, x)
        for z, y, x in np.ndindex(3, 4, 5)
    }
    corners, ways = set(), set()
    for seed in range(60):
        cut = jax.tree.map(np.asarray, program(jax.random.key(seed), batch))
        block = cut["label"][0]
        np.testing.assert_array_equal(cut["image"][0, ..., 0], block)
        place = cubes[np.sort(block.ravel()).astype(volume.dtype).tobytes()]
        z, y, x = place
        corner = volume[z : z + 4, y : y + 4, x : x + 4][0, 0, 0]
        corners.add(place)
        ways.add(tuple(np.argwhere(block == corner)[0]))
    assert len(corners) > 30
    assert len(ways) == 8  # the first voxel comes to lie in every corner


def test_augmentation_of_a_block_is_one_function():
    assert augmentation(8) is augmentation(8)


@pytest.mark.slow
def test_short_training_is_kept_and_reproduced(monkeypatch, tmp_path, compilations):
    """Brighter voxels are nuclei; a second seed and another loss compile no other epoch."""
    monkeypatch.setattr(_unet.jn.models, "NucleiUNet", small_network)
    options = {"block": 16, "width": 1, "epochs": 1, "volumes": 2, "seeds": 1}
    plan = plan_of(Config("all", **options))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 16)).astype(np.uint8) for _ in range(2)]
    labels = [image > 128 for image in images]

    def train(name, seed, folder):
        with open_curves(tmp_path / "curves") as curves:
            return _unet.train_unet(
                plan.unet, name, seed, images, labels, plan.volumes, tmp_path / folder, curves
            )

    record = train("base", 0, "base")
    assert record["steps"] == 2
    assert set(record["curves"]) == {"loss", "dice", "bce"}
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["seed0.npz"]
    line = json.loads((tmp_path / "curves" / "curves.jsonl").read_text())
    assert (line["run"], line["epoch"]) == ("base, seed 0", 1)
    epochs = epochs_compiled(lambda: train("dice", 1, "dice"), compilations)
    assert epochs == 0
    train("base", 0, "again")
    for folder in ("base", "again"):
        network = segmenter(plan.unet, "base", Path(tmp_path / folder / "seed0.npz"))
        found = probability(network, images[0], 16, 1)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, probability(network, images[0], 16, 1))
    first, again = (np.load(tmp_path / f / "seed0.npz") for f in ("base", "again"))
    for name in first.files:
        np.testing.assert_array_equal(first[name], again[name])


def epochs_compiled(function, compilations):
    """How many programs a call compiles, beside the small ones that make initial parameters."""
    import logging

    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(handler)
    try:
        compilations(function)
    finally:
        logger.removeHandler(handler)
    return sum("run_epoch" in message for message in messages)


def small_network(*, width, rngs):
    return _unet.jn.models.EncoderDecoder(width=width, levels=1, rngs=rngs)
