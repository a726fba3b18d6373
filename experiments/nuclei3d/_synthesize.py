"""Synthetic volumes of nuclei, and a rendering of them that has not seen the microscope's."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

import jaxnoise as jn

from ._config import VolumesPlan
from ._microscope import semi_axes, to_bytes

_KEY = 0


def synthetic_labels(plan: VolumesPlan, index: int) -> np.ndarray:
    """A volume of ellipsoids, (D, H, W) uint16, 0 in the background.

    Nuclei are round in cubic voxels; where slices are further apart than pixels, only the slices
    that the microscope would see are kept.
    """
    depth, height, width = plan.shape
    distance = plan.voxel[0] / plan.voxel[1]
    labels = jn.volumes.random_ellipsoids(
        jax.random.fold_in(jax.random.key(_KEY), index),
        (math.ceil(depth * distance), height, width),
        semi_axes=semi_axes(plan),
        num=plan.num_nuclei,
    )
    seen = (np.arange(depth) * distance).astype(int)
    return np.asarray(labels)[seen].astype(np.uint16)


def rendered(labels: np.ndarray, index: int) -> np.ndarray:
    """The nuclei as some microscope would show them, uint8: a random look for each volume.

    What is not known of the microscope varies from volume to volume, so that a network learns not
    to care.
    """
    key = jax.random.fold_in(jax.random.key(_KEY + 1), index)
    rng = np.random.default_rng(index)
    low, sideways = rng.uniform(0.15, 0.5), rng.uniform(0.5, 1.5)
    image = jn.volumes.render(
        key,
        jnp.asarray(labels, jnp.int32),
        brightness=(low, low + rng.uniform(0.1, 0.5)),
        texture=rng.uniform(0.0, 0.4),
        blur=(rng.uniform(0.8, 2.4), sideways, sideways),
        background=rng.uniform(0.02, 0.35),
        attenuation=math.exp(rng.uniform(math.log(50), math.log(1000))),
        photons=math.exp(rng.uniform(math.log(20), math.log(500))),
        noise=rng.uniform(0.0, 0.04),
    )
    return to_bytes(np.asarray(image))
