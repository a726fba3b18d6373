"""Does smoothing lead to the lowest of many minima, and how fast may it fade?

Sato, Iiduka, "Using Stochastic Gradient Descent to Smooth Nonconvex Functions: Analysis of Implicit
Graduated Optimization with Optimal Noise Scheduling", 2023. Graduated descent goes down functions
smoothed less and less, f̂_δ with δ_1 > δ_2 > … → 0; SGD does so on average, with δ = ηC/√b. Four
parts look at it where everything is known:

- smoothing: a function with many minima, its smoothings, and the path through them (figure 1);
- schedules: the usual schedules, and the first step at which each decays faster than the theory of
  new σ-nice functions allows, or not at all (figures 4 to 7); for how many directions any does;
- nice: whether the test functions are nice, on samples;
- descent: the share of random starts from which gradient descent, SGD and graduated descent reach
  the global minimum, in 1 to 100 dimensions, at equal numbers of gradients and of steps.

In the last part all methods work for M stages and then descend on f itself for as many steps as
graduated descent made before. The step of a stage is c/L, where L is the largest curvature of the
stage's f̂ as it is sampled; c and δ_1 are chosen for each method on starts that are not counted.

    python -m experiments.graduated_toy                  # offline
    python -m experiments.graduated_toy --preset full    # more starts in 10 and 100 dimensions
"""

from ._config import Config as Config
from ._run import run as run
