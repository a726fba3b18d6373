"""Does trajectory regularization help small batches, and which part of it?

Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small Batch
Sizes", IJCAI 2019. TRSGD and TRAdam add a pull λ(w − a) towards an anchor a, renewed every S steps,
and divide the learning rate by k + 1 in the k-th step after it. The second also lowers the mean
step, to H_S/S = 0.293 of the learning rate for S = 10. So every run has its controls:

- the base optimizer, SGD with momentum or Adam;
- the algorithm in the form of the paper (constant λ) and of its authors' code (λ grows as the
  learning rate falls, and every epoch renews the anchor);
- the pull of either form alone, and the inner schedule alone;
- the base optimizer at the mean step of the algorithm, and at the best of a few learning rates,
  chosen on a part of the training set that is held out for that.

All of them start from the same parameters and see the examples in the same order, so that each is
compared with the base optimizer seed by seed. tr Σ, the variance of a single example's gradient, is
measured along the way.

    python -m experiments.small_batch                                     # digits, offline
    python -m experiments.small_batch --batch-sizes 2 8 32 128            # as in table 4
    python -m experiments.small_batch --periods 1 5 10 20 50              # as in table 5
    python -m experiments.small_batch --preset small --data-dir FOLDER    # MNIST
    python -m experiments.small_batch --preset paper --data-dir FOLDER    # for a GPU
"""

from ._config import Config as Config
from ._run import run as run
