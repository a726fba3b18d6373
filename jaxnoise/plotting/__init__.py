"""Pictures of results; every function takes and returns Matplotlib axes."""

from ._landscape import contour as contour
from ._landscape import line as line
from ._landscape import surface as surface
from ._noise import vanishing_table as vanishing_table
from ._training import training_curves as training_curves
