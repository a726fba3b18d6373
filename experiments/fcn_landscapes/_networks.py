"""The networks that are compared, from few skips to many."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jaxnoise as jn

NETWORKS: dict[str, Callable] = {
    "FCN-16s": functools.partial(jn.models.FCN, skips=16),
    "FCN-8s": functools.partial(jn.models.FCN, skips=8),
    "FCN-4s": functools.partial(jn.models.FCN, skips=4),
    "U-Net": jn.models.UNet,
    "residual skips": jn.models.ResidualSkipUNet,
}

MAIN = ("FCN-16s", "U-Net", "residual skips")  # those of tables 1–3 and 6
