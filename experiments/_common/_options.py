"""Checks of options, and the tasks that come of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any


def check_at_least(config: Any, bound: float, *names: str) -> None:
    """Refuses options below the bound; of a tuple every entry counts, None is left alone.

    Raises:
      ValueError: naming the first such option.
    """
    for name in names:
        for value in _values(config, name):
            if not value >= bound:
                raise ValueError(f"{_flag(name)} must be at least {bound:g}, got {value:g}")


def check_positive(config: Any, *names: str) -> None:
    """Refuses options that are not above zero; of a tuple every entry counts.

    Raises:
      ValueError: naming the first such option.
    """
    for name in names:
        for value in _values(config, name):
            if not value > 0:
                raise ValueError(f"{_flag(name)} must be positive, got {value:g}")


def pairs_of(
    data: tuple[str, ...] | None,
    network: tuple[Any, ...] | None,
    preset: tuple[tuple[str, Any], ...],
) -> tuple[tuple[str, Any], ...]:
    """Data set and network of every task: the preset's, or each of the one with each of the other.

    Args:
      data: data sets instead of the preset's; None for those.
      network: networks likewise.
      preset: pairs of data set and network.
    """
    if not (data or network):
        return preset
    names, networks = (tuple(dict.fromkeys(column)) for column in zip(*preset, strict=True))
    return tuple(itertools.product(data or names, network or networks))


def _values(config: Any, name: str) -> Iterable[float]:
    value = getattr(config, name)
    if value == ():
        raise ValueError(f"{_flag(name)} must have a value")
    return () if value is None else value if isinstance(value, tuple) else (value,)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
