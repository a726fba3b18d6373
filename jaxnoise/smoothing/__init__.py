"""Smoothed functions, and descent through them to the lowest of many minima."""

from . import functions as functions
from ._closed_forms import cosine_factor as cosine_factor
from ._closed_forms import smoothed_cosines as smoothed_cosines
from ._closed_forms import smoothed_quadratic as smoothed_quadratic
from ._descent import Descent as Descent
from ._descent import descent as descent
from ._graduated import GraduatedDescent as GraduatedDescent
from ._graduated import graduated_descent as graduated_descent
from ._graduated import polynomial_deltas as polynomial_deltas
from ._nice import NiceReport as NiceReport
from ._nice import nice_report as nice_report
from ._smoothed import Smoothed as Smoothed
from ._smoothed import smoothed as smoothed
