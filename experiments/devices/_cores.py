"""The cores that simulated devices share."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores(path: Path = Path("/proc/cpuinfo")) -> int:
    """Cores of this machine, hyper-threads not counted twice where the system tells."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found, socket = set(), ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "physical id":
            socket = value.strip()
        elif name.strip() == "core id":
            found.add((socket, value.strip()))
    return len(found) or os.cpu_count() or 1
