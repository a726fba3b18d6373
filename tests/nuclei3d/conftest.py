"""Plans and volumes for the tests of nuclei3d."""

import numpy as np
import pytest

from experiments.nuclei3d._config import Config, plan_of


@pytest.fixture
def volumes_plan():
    """Makes the plan of volumes that options give."""
    return lambda **options: plan_of(Config("all", **options)).volumes


@pytest.fixture
def balls():
    """Makes labels of balls: (shape, centres, radius) → int32."""

    def make(shape, centres, radius=3):
        labels = np.zeros(shape, np.int32)
        places = np.moveaxis(np.indices(shape), 0, -1)
        for number, centre in enumerate(centres, start=1):
            labels[((places - np.array(centre)) ** 2).sum(-1) <= radius**2] = number
        return labels

    return make
