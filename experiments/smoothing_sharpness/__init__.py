"""Does the noise of SGD smooth the loss, so that more of it ends flatter and generalizes otherwise?

Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of Implicit
Graduated Optimization with Optimal Noise Scheduling", 2023, figures 8 and 9. SGD at learning rate η
and batch size b descends, on average, a loss smoothed to the degree δ = ηC/√b, where C² is the
variance of a single example's gradient. So runs at many η and b are trained for equally many epochs
by plain SGD, and at the end of each are measured:

- the worst-case sharpness within ±ρ of every weight, as in the paper, and the adaptive one, within
  ±ρ|w|, which does not change where layers are rescaled;
- C, at the start and at the end, and C as the paper concludes it from a critical batch size;
- losses and accuracies.

The paper expects sharpness to grow with b and to fall with η and with δ, test accuracy to have one
hump over δ, and none over sharpness. Rank correlations, with bootstrap intervals over the runs, are
over all runs and over those alone that have learnt their training set: the others are flat for
another reason. How normal the noise is, and whether halving η does as much as quadrupling b, is
measured along one of the runs.

    python -m experiments.smoothing_sharpness                                     # digits, offline
    python -m experiments.smoothing_sharpness --preset small --data-dir FOLDER    # MNIST
    python -m experiments.smoothing_sharpness --preset paper --data-dir FOLDER    # for a GPU
"""

from ._config import Config as Config
from ._run import run as run
