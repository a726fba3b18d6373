"""How fast does SGD get, and where does it stop: runs against what theorems guarantee.

The bounds of `jaxnoise.theory` for a step size γ, K steps and batch size B, beside the means over
many seeds of runs that fulfil their assumptions:

- regression: linear least squares, whose L and μ are known exactly. Once with the full gradient
  plus normal noise of known variance σ², where the theorem for strongly convex functions is exact;
  once with components drawn from the data, whose variance grows with the distance from the
  solution, so that σ² is measured along the run;
- logistic: logistic regression on real data, convex, with L and a bound on σ² from the data;
- network: a small network of smooth units on real images, which isn't convex; its L can only be
  estimated, by the Hessian along the run;
- resnet: ResNet18 by batch size, at equal numbers of steps, only where asked for.

Constant step sizes, decaying ones, and those tuned to the number of steps run side by side, all
seeds of all of them in one compiled program for each batch size.

    python -m experiments.sgd_rates                     # linear regression, digits; offline
    python -m experiments.sgd_rates --preset full       # more steps and seeds, and ResNet18
    python -m experiments.sgd_rates --only resnet --data cifar10 --examples 50000     # for a GPU

Expect the bounds above the means everywhere, and floors proportional to γ and 1/B. The bounds are
loose: at the end about 30 times the mean in the regression with known variance, 300 times where the
variance at the start has to count, and 2 to 30 times elsewhere.
"""

from ._config import Config as Config
from ._run import run as run
