"""When does SGD work well: how many component gradients vanish at a solution?

Nguyen, Nguyen, Richtárik, Scheinberg, Takáč, van Dijk, "When Does Stochastic Gradient Algorithm
Work Well?", 2018. The paper's claim: at the solutions of machine-learning problems more than 99 %
of the components have a vanishing gradient, so that SGD with a fixed step size converges almost as
fast as gradient descent. Three parts test it:

- toy: SGD in the plane, where the minimisers of the components are close together and where not;
- logistic: logistic regression with L2, at the exact solution and at that of SGD;
- networks: a dense and a convolutional network trained by Adam, with p_τ, M_τ, the constant N of
  the non-convex bound, and the same of the means of mini-batches.

    python -m experiments.vanishing_gradients                                     # digits, offline
    python -m experiments.vanishing_gradients --preset small --data-dir FOLDER    # MNIST, LIBSVM
    python -m experiments.vanishing_gradients --preset paper --data-dir FOLDER    # for a GPU

Time on two CPU cores: two minutes; under 50 minutes for `small`. `small` takes MNIST's four .gz
files and ijcnn1, w8a, a9a as LIBSVM text; `paper` also SVHN and CIFAR-10 from TensorFlow Datasets.
"""

from ._config import Config as Config
from ._run import run as run
