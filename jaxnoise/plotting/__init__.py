"""Pictures of results; functions take and return Matplotlib axes, `landscapes` takes a figure."""

from ._landscape import contour as contour
from ._landscape import line as line
from ._landscape import surface as surface
from ._landscape import trajectory as trajectory
from ._landscapes import landscapes as landscapes
from ._noise import growth_curve as growth_curve
from ._noise import noise_histogram as noise_histogram
from ._noise import noise_quantiles as noise_quantiles
from ._noise import vanishing_table as vanishing_table
from ._schedules import decay_rates as decay_rates
from ._schedules import schedule as schedule
from ._training import training_curves as training_curves
from ._volumes import volume_projection as volume_projection
from ._volumes import volume_slices as volume_slices
