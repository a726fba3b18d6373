"""The steps from synthetic volumes to segmentations; each reads what those before it wrote.

A part that is finished stays when the step goes on with --resume, and a step refuses to go on in a
folder that was made with other settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.tree_util import Partial

import jaxnoise as jn

from .._common import Curves, begin, remembered, say
from ._baselines import BASELINES
from ._config import Config, Plan, VolumesPlan
from ._files import read_all, write_all
from ._gan import train_gan
from ._generate import generate
from ._microscope import microscope_of, shrunk
from ._segment import nuclei_in, probability, segmenter
from ._synthesize import rendered, synthetic_labels
from ._unet import train_unet
from ._variants import GANS, VARIANTS, gans_of

Volumes = list[np.ndarray]


def synthesize(config: Config, plan: Plan, curves: Curves) -> None:
    """Writes microscope/ and synthetic/."""
    for name, compute in (("microscope", _take), ("synthetic", _draw)):
        folder = config.out / name
        begin(folder, plan.volumes, config.resume)
        remembered(folder / "done.json", partial(compute, config, plan.volumes, folder))


def _take(config: Config, plan: VolumesPlan, folder: Path) -> dict[str, Any]:
    found = microscope_of(plan, config.data_dir)
    for part in ("train", "test"):
        write_all(folder / part, "image", getattr(found, part))
        write_all(folder / part, "label", getattr(found, f"{part}_truth"))
    return {"description": found.description}


def _draw(config: Config, plan: VolumesPlan, folder: Path) -> dict[str, Any]:
    say(f"synthesize: {plan.num} volumes of {plan.shape} voxels")
    labels = [synthetic_labels(plan, index) for index in range(plan.num)]
    images = [rendered(label, index) for index, label in enumerate(labels)]
    write_all(folder, "label", labels)
    write_all(folder, "image", images)
    return {"fill": float(np.mean([label > 0 for label in labels]))}


def train_gans(config: Config, plan: Plan, curves: Curves) -> None:
    """Writes gan/."""
    labels = _synthetic(config.out)
    images = read_all(config.out / "microscope" / "train", "image", "synthesize")
    images = shrunk(images, plan.volumes.shrink)
    folder = config.out / "gan"
    begin(folder, _gan_settings(plan), config.resume)
    for method in gans_of(plan.unet.variants):
        say(f"train-gan: {GANS[method]}, {plan.seeds} seeds")
        compute = partial(train_gan, plan, method, labels, images, folder / method, curves)
        remembered(folder / f"{method}.json", compute)


def generate_volumes(config: Config, plan: Plan, curves: Curves) -> None:
    """Writes generated/."""
    labels = _synthetic(config.out)
    folder = config.out / "generated"
    begin(folder, _gan_settings(plan), config.resume)
    for method in gans_of(plan.unet.variants):
        for seed in range(plan.seeds):
            own = folder / method / f"seed{seed}"
            compute = partial(_generated, config.out, plan, method, seed, labels, own)
            remembered(own / "done.json", compute)


def _generated(
    out: Path, plan: Plan, method: str, seed: int, labels: Volumes, folder: Path
) -> dict[str, Any]:
    say(f"generate: {GANS[method]}, seed {seed}")
    images = generate(plan, out / "gan" / method, seed, labels)
    write_all(folder, "image", images)
    return {"volumes": len(images)}


def train_unets(config: Config, plan: Plan, curves: Curves) -> None:
    """Writes unet/."""
    folder = config.out / "unet"
    begin(folder, _unet_settings(plan), config.resume)
    for name, seed in runs_of(config.out, plan):
        compute = partial(_trained, config.out, plan, name, seed, folder / name, curves)
        remembered(folder / name / f"seed{seed}.json", compute)


def _trained(
    out: Path, plan: Plan, name: str, seed: int, folder: Path, curves: Curves
) -> dict[str, Any]:
    say(f"train-unet: {VARIANTS[name].title}, seed {seed}")
    images, labels = training_volumes(out, plan, name, seed)
    return train_unet(plan.unet, name, seed, images, labels, plan.volumes, folder, curves)


def training_volumes(out: Path, plan: Plan, name: str, seed: int) -> tuple[Volumes, Volumes]:
    """Images and labels that a variant learns from, from this seed."""
    variant, shrink = VARIANTS[name], plan.volumes.shrink
    if variant.source == "truth":
        folder = out / "microscope" / "train"
        images, labels = (read_all(folder, stem, "synthesize") for stem in ("image", "label"))
        return shrunk(images, shrink), shrunk([label > 0 for label in labels], shrink)
    labels = _synthetic(out)
    if variant.source == "rendered":
        images = read_all(out / "synthetic", "image", "synthesize")
    else:
        images = read_all(out / "generated" / variant.source / f"seed{seed}", "image", "generate")
    num = plan.volumes.few if variant.few else len(labels)
    return images[:num], labels[:num]


def segment(config: Config, plan: Plan, curves: Curves) -> None:
    """Writes segmented/."""
    volumes = read_all(config.out / "microscope" / "test", "image", "synthesize")
    folder = config.out / "segmented"
    begin(folder, plan, config.resume)
    for name, seed in runs_of(config.out, plan):
        own = folder / name / f"seed{seed}"
        remembered(own / "done.json", partial(_by_network, config.out, plan, name, seed, volumes))
    for name in BASELINES:
        own = folder / name / "seed0"
        remembered(own / "done.json", partial(_by_baseline, plan, name, volumes, own))


def _by_network(out: Path, plan: Plan, name: str, seed: int, volumes: Volumes) -> dict[str, Any]:
    say(f"segment: {VARIANTS[name].title}, seed {seed}")
    network: Partial = segmenter(plan.unet, name, out / "unet" / name / f"seed{seed}.npz")
    block, shrink = plan.unet.block, plan.volumes.shrink
    found = [probability(network, volume, block, shrink) for volume in volumes]
    return _labelled(out / "segmented" / name / f"seed{seed}", found, plan.min_size)


def _by_baseline(plan: Plan, name: str, volumes: Volumes, folder: Path) -> dict[str, Any]:
    found = [255 * BASELINES[name](volume).astype(np.uint8) for volume in volumes]
    return _labelled(folder, found, plan.min_size)


def _labelled(folder: Path, probabilities: Volumes, min_size: int) -> dict[str, Any]:
    labels = [nuclei_in(found, min_size) for found in probabilities]
    write_all(folder, "probability", probabilities)
    write_all(folder, "label", [label.astype(np.uint16) for label in labels])
    write_all(folder, "colors", [jn.volumes.color_labels(label) for label in labels])
    return {"nuclei": [int(label.max()) for label in labels]}


def runs_of(out: Path, plan: Plan) -> Iterator[tuple[str, int]]:
    """Variants and seeds, without those that learn from ground truth where there is none."""
    has_truth = any((out / "microscope" / "train").glob("label_*.tif"))
    for name in plan.unet.variants:
        if has_truth or VARIANTS[name].source != "truth":
            yield from ((name, seed) for seed in range(plan.seeds))


def _synthetic(out: Path) -> Volumes:
    return read_all(out / "synthetic", "label", "synthesize")


def _gan_settings(plan: Plan) -> dict[str, Any]:
    return {"seeds": plan.seeds, "volumes": plan.volumes, "gan": plan.gan}


def _unet_settings(plan: Plan) -> dict[str, Any]:
    return {**_gan_settings(plan), "unet": plan.unet}
