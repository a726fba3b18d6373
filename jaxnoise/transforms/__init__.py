"""Optax gradient transformations: trajectory regularization and the choice of its output."""

from ._iterates import UniformIterateState as UniformIterateState
from ._iterates import finish_iterate as finish_iterate
from ._iterates import uniform_iterate as uniform_iterate
from ._proximal import InnerStepState as InnerStepState
from ._proximal import ProximalState as ProximalState
from ._proximal import add_proximal_term as add_proximal_term
from ._proximal import reference_weight as reference_weight
from ._proximal import scale_by_inner_step as scale_by_inner_step
from ._trajectory import tradam as tradam
from ._trajectory import trsgd as trsgd
