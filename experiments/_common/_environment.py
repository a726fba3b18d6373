"""Where and with what an experiment ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

import jax

_PACKAGES = ("jaxnoise", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Device, versions and time, as JSON values."""
    devices = jax.devices()
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return {
        "device": f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})",
        "processor": f"{os.cpu_count()} cores, {platform.machine()}, {_processor_name()}",
        "versions": versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or "unknown processor"
