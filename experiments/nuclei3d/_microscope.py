"""The microscope's volumes: drawn, of a data set, or the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxnoise as jn

from ._config import VolumesPlan
from ._files import read_all

_SIDE = 64  # of a drawn test volume, voxels
_KEY = 1_000_003  # no other
_LOOK: dict[str, Any] = {  # of a dim microscope; nothing else may know it
    "brightness": (0.4, 0.9),
    "texture": 0.3,
    "blur": (1.8, 1.0, 1.0),
    "background": 0.12,
    "attenuation": 100.0,
    "photons": 80.0,
    "noise": 0.02,
}
_DARKEST, _BRIGHTEST = 1.0, 99.8  # percentiles that become 0 and 255

Volumes = list[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Microscope:
    """Volumes as they were taken.

    Attributes:
      train: (D, H, W) each, uint8; a GAN learns their look.
      train_truth: labels of their nuclei; empty where there are none.
      test: volumes to be segmented; `train` again where a set has one part only.
      test_truth: labels of their nuclei; empty where there are none.
      description: of the set.
    """

    train: Volumes
    train_truth: Volumes
    test: Volumes
    test_truth: Volumes
    description: str


def microscope_of(plan: VolumesPlan, data_dir: Path | None) -> Microscope:
    """Draws or loads the volumes, in 8 bits."""
    if plan.data == "microscope":
        return _drawn(plan)
    if "/" in plan.data or Path(plan.data).suffix:
        return _own(Path(plan.data), plan)
    return _loaded(plan, data_dir)


def to_bytes(volume: np.ndarray) -> np.ndarray:
    """Gray levels stretched so that the 1st percentile is 0 and the 99.8th 255.

    Like this volumes of any microscope have one scale, and so have drawn ones.
    """
    low, high = np.percentile(volume, [_DARKEST, _BRIGHTEST])
    scaled = (volume.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def semi_axes(plan: VolumesPlan) -> list[int]:
    """The radii in shrunk pixels, at least 1."""
    return [max(1, round(radius / plan.voxel[1] / plan.shrink)) for radius in plan.radii]


def _drawn(plan: VolumesPlan) -> Microscope:
    axes = semi_axes(dataclasses.replace(plan, shrink=1))

    def draw(key: jax.Array, num: int, shape: tuple[int, int, int]) -> tuple[Volumes, Volumes]:
        drawn = jax.tree.map(np.asarray, jn.data.nuclei(key, num, shape, semi_axes=axes, **_LOOK))
        return [to_bytes(image[..., 0]) for image in drawn["image"]], list(drawn["label"])

    train_key, test_key = jax.random.split(jax.random.key(_KEY))
    train = draw(train_key, plan.num_train, plan.shape)
    test = draw(test_key, plan.num_test, (_SIDE, _SIDE, _SIDE))
    return Microscope(*train, *test, "drawn microscopy")


def _own(path: Path, plan: VolumesPlan) -> Microscope:
    """The user's volumes, which are learnt from and segmented."""
    if any(path.glob("image_*.tif")):
        found, truth = read_all(path, "image"), read_all(path, "label")
    else:
        found, truth = [jn.volumes.read_volume(path)], []
    images = [to_bytes(volume) for volume in _checked(str(path), found, truth)]
    most = plan.num_test
    return Microscope(images[: plan.num_train], [], images[:most], truth[:most], str(path))


def _loaded(plan: VolumesPlan, data_dir: Path | None) -> Microscope:
    dataset = jn.data.load(plan.data, data_dir=data_dir)
    train, train_truth = _volumes_in(plan.data, dataset.train)
    images = [to_bytes(volume) for volume in train[: plan.num_train]]
    description = dataset.info.description
    if dataset.test is None:
        most = plan.num_test
        return Microscope(images, [], images[:most], train_truth[:most], description)
    test, truth = _volumes_in(plan.data, dataset.test)
    return Microscope(
        images,
        train_truth[: plan.num_train],
        [to_bytes(volume) for volume in test[: plan.num_test]],
        truth[: plan.num_test],
        description,
    )


def _volumes_in(name: str, part: Any) -> tuple[Volumes, Volumes]:
    """Images and labels of a part, each of its own size."""
    if "microscopy" in part:  # slices of one volume
        return _checked(name, [np.asarray(part["microscopy"])], []), []
    image = part.get("image")
    if image is None or image.ndim != 5 or image.shape[-1] != 1:
        raise ValueError(f"--data {name}: needs volumes (D, H, W) of gray levels")
    shapes = part.get("shape", [image.shape[1:4]] * len(image))
    cuts = [tuple(slice(length) for length in shape) for shape in shapes]
    images = [volume[cut] for volume, cut in zip(image[..., 0], cuts, strict=True)]
    labels = part.get("label")
    truth = [] if labels is None else [x[cut] for x, cut in zip(labels, cuts, strict=True)]
    return _checked(name, images, truth), truth


def _checked(name: str, images: Volumes, truth: Volumes) -> Volumes:
    for volume in images:
        if volume.ndim != 3:
            raise ValueError(f"--data {name}: needs gray volumes (D, H, W), got {volume.shape}")
    if truth and [x.shape for x in truth] != [x.shape for x in images]:
        raise ValueError(f"--data {name}: images and labels differ in number or size")
    return images


def shrunk(volumes: Sequence[np.ndarray], factor: int) -> Volumes:
    """Means of cubes of voxels; what is left over at the ends is repeated to fill them."""
    return [_shrunk(volume, factor) for volume in volumes]


def _shrunk(volume: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return volume
    full = np.pad(volume, [(0, -length % factor) for length in volume.shape], mode="edge")
    sides = [part for length in full.shape for part in (length // factor, factor)]
    means = full.reshape(sides).mean((1, 3, 5), dtype=np.float32)
    return np.rint(means).astype(volume.dtype) if volume.dtype != bool else means >= 0.5


def enlarged(volume: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """Floating numbers at the voxels of the full volume, interpolated linearly between cubes."""
    from scipy import ndimage

    if factor == 1:
        return volume
    places = [(np.arange(length) + 0.5) / factor - 0.5 for length in shape]
    grid = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(volume, grid, order=1, mode="nearest")
