"""How sharply the loss rises around the parameters: boxes, balls, averages and curvature."""

from ._average import AverageSharpness as AverageSharpness
from ._average import average_sharpness as average_sharpness
from ._box import BoxSharpness as BoxSharpness
from ._box import box_sharpness as box_sharpness
from ._density import SpectralDensity as SpectralDensity
from ._density import spectral_density as spectral_density
from ._eigenvalues import HessianEigenvalues as HessianEigenvalues
from ._eigenvalues import hessian_eigenvalues as hessian_eigenvalues
from ._trace import HessianTrace as HessianTrace
from ._trace import hessian_trace as hessian_trace
from ._worst_case import WorstCaseSharpness as WorstCaseSharpness
from ._worst_case import worst_case_sharpness as worst_case_sharpness
