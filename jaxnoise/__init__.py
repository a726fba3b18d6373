"""The noise in stochastic gradients: train with it, schedule it, measure it, see what it does."""

import importlib
from typing import TYPE_CHECKING

from . import data as data
from . import gradients as gradients
from . import landscape as landscape
from . import losses as losses
from . import metrics as metrics
from . import schedules as schedules
from . import sharpness as sharpness
from . import smoothing as smoothing
from . import theory as theory
from . import training as training
from . import transforms as transforms
from . import volumes as volumes

if TYPE_CHECKING:
    from . import models as models
    from . import plotting as plotting

__version__ = "0.1.0"

_ON_FIRST_USE = ("models", "plotting")  # they import Flax NNX and Matplotlib, which takes time


def __getattr__(name: str):
    if name in _ON_FIRST_USE:
        return importlib.import_module(f"jaxnoise.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ON_FIRST_USE])
