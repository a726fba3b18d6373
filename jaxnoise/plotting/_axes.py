"""Axes to draw into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .._checks import check_kind, shown


def axes_or_new(ax: Axes | None, **subplot_options: Any) -> Axes:
    """`ax`, or the axes of a new figure where it is None."""
    if ax is None:
        return plt.subplots(subplot_kw=subplot_options)[1]
    check_kind(ax, "ax", Axes)
    return ax


def by_name(values: Any, name: str, kind: type) -> Mapping[str, Any]:
    """The dict of what is to be drawn, all of one kind; a single one has the name ""."""
    values = {"": values} if isinstance(values, kind) else values
    if not isinstance(values, Mapping) or not values:
        found = f"a {kind.__name__} or a dict of them, got {shown(values)}"
        raise TypeError(f"{name} must be {found}")
    for value in values.values():
        check_kind(value, f"each of {name}", kind)
    return values


def metric_values(values: Any, metric: str) -> np.ndarray:
    """The array called `metric`, or the only one there is."""
    if not isinstance(values, dict):
        return np.asarray(values)
    if metric not in values:
        raise ValueError(f"metric must be one of {', '.join(values)}, got {metric!r}")
    return np.asarray(values[metric])
