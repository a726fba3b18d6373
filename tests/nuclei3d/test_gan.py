"""The GAN half: what it is trained on, what it makes of labels, a whole training."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from experiments.nuclei3d._config import GanPlan
from experiments.nuclei3d._gan import augmentation, decaying, examples, train_gan
from experiments.nuclei3d._generate import generate, generator, microscopy

PLAN = GanPlan(epochs=2, crop=8, width=2, blocks=1, layers=1, pool=3)


def volumes(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]


def test_slices_of_volumes_of_all_sizes():
    """Mirrored to the largest, and one of each slice for every window that fits."""
    first, second = volumes((3, 16, 9), (2, 10, 17))
    found = examples([first, second], PLAN)
    assert found.shape == (2 * 3 * 2 * 2, 16, 17, 1)
    slices = found[::4, ..., 0]
    np.testing.assert_array_equal(slices[:3, :, :9], first)
    np.testing.assert_array_equal(slices[:3, :, 9:], np.flip(first[:, :, 1:], 2))
    np.testing.assert_array_equal(slices[3:5, :10], second)
    np.testing.assert_array_equal(slices[5, :10], second[1])
    np.testing.assert_array_equal(found[0], found[3])


def test_blocks_of_masks():
    masks = [volume > 128 for volume in volumes((4, 9, 16))]
    found = examples(masks, dataclasses.replace(PLAN, ndim=3))
    assert found.shape == (2, 8, 9, 16, 1)
    np.testing.assert_array_equal(found[1, :4, ..., 0], 255 * masks[0])


def test_the_rate_is_constant_and_then_falls_to_zero():
    schedule = decaying(0.2, 11)
    values = [float(schedule(step)) for step in range(12)]
    np.testing.assert_allclose(values, [0.2] * 6 + [0.2 * k / 6 for k in range(5, -1, -1)], 1e-6)


@pytest.mark.slow
def test_batches_are_unpaired_windows_between_minus_one_and_one():
    """Gray levels of images are below 100, those of labels 0 or 255."""
    (image,) = volumes((5, 12, 12, 1))
    labels = np.zeros((3, 20, 10, 1), np.uint8)
    labels[1:] = 255
    augment = augmentation(labels, PLAN)
    batch = augment(jax.random.key(0), {"image": np.tile(image % 100, (8, 1, 1, 1))})
    assert {name: x.shape for name, x in batch.items()} == dict.fromkeys(
        ("image", "label"), (40, 8, 8, 1)
    )
    assert -1 <= batch["image"].min() < -0.9
    assert batch["image"].max() < -0.2
    assert sorted(np.unique(batch["label"])) == [-1, 1]
    shares = np.mean(batch["label"], axis=(1, 2, 3))
    assert set(np.unique(shares)) == {-1, 1}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("shape", [(3, 5, 13), (9, 8, 12)])
def test_volumes_are_made_voxel_by_voxel_by_a_pointwise_network(ndim, shape):
    def apply(params, model_state, x, key):
        assert key is None
        assert x.shape[1:] == (8,) * 3 + (1,) or x.shape[1] % 4 == x.shape[2] % 4 == 0
        return params * x, model_state

    label = np.random.default_rng(0).integers(0, 3, shape)
    make = generator(Partial(apply), jnp.float32(0.6), ())
    made = microscopy(make, label, dataclasses.replace(PLAN, ndim=ndim))
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, np.where(label > 0, 204, 51))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ndim"), [("spcyclegan", 3), ("cyclegan", 2)])
def test_training_and_generating(tmp_path, method, ndim):
    plan = SimpleNamespace(seeds=2, gan=dataclasses.replace(PLAN, ndim=ndim))
    labels, images = volumes((8, 8, 9), (8, 8, 9)), volumes((8, 16, 8), seed=1)
    lines = []
    curves = SimpleNamespace(log=lambda *line: lines.append(line))
    folder = tmp_path / method
    found = train_gan(plan, method, [x // 200 for x in labels], images, folder, curves)
    assert [line[:2] for line in lines] == [
        (name, epoch) for name in ["SpCycleGAN" if method == "spcyclegan" else "CycleGAN"]
        for epoch in (1, 2)
    ]  # fmt: skip
    assert found["steps"] == 2 * 2 * (8 if ndim == 2 else 1)
    assert set(found["num_params"]) == {"generators", "discriminators"}
    assert ("generators spatial" in found["curves"]) == (method == "spcyclegan")
    assert not (folder / "checkpoints").exists()
    made = [generate(plan, folder, seed, labels)[1] for seed in range(2)]
    for image in made:
        assert (image.shape, image.dtype) == ((8, 8, 9), np.uint8)
    assert np.any(made[0] != made[1]), "seeds differ"
    assert {path.name for path in folder.iterdir()} == {
        f"{stem}{seed}.{kind}"
        for seed in range(2)
        for stem, kind in (("seed", "npz"), ("samples_seed", "png"))
    }
    other = SimpleNamespace(gan=dataclasses.replace(plan.gan, width=3))
    with pytest.raises(ValueError, match="holds another network"):
        generate(other, folder, 0, labels)
