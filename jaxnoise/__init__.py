"""The noise in stochastic gradients: train with it, schedule it, measure it, see what it does."""

from typing import TYPE_CHECKING

from . import data as data
from . import gradients as gradients
from . import landscape as landscape
from . import losses as losses
from . import models as models
from . import schedules as schedules
from . import training as training
from . import transforms as transforms

if TYPE_CHECKING:
    from . import plotting as plotting

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "plotting":  # matplotlib takes longer to import than all the rest of this library
        import importlib

        return importlib.import_module("jaxnoise.plotting")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
