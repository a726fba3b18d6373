"""Which schedule of the gradient noise trains best, and is the noise what it was meant to be?

Sato, Iiduka, "Using SGD to Smooth Nonconvex Functions: Analysis of Implicit Graduated Optimization
with Optimal Noise Scheduling", 2023, figures 10–14. SGD with learning rate η and batch size b
smooths the loss to the degree δ = ηC/√b, and δ should decay. Plain SGD, without momentum or weight
decay, trains

- by stages: (1) all constant, (2) the learning rate decays, (3) the batch grows, (4) both change,
  so that η/√b falls by 1/√2 from stage to stage. In the paper the methods start from different
  batch sizes, hence from different δ; so all of them run from one batch size, too;
- (5) ours: as 4, but C is measured at the start of each stage, for every seed, and the stage chosen
  so that δ itself falls by 1/√2. C and the true δ are reported for all methods;
- by epochs: polynomial, cosine, cosine-power, step, exponential and constant learning rates at one
  batch size, all of them and all seeds as replicas of one compiled program.

All start from the same parameters and, at equal batch size, see the examples in the same order.

    python -m experiments.noise_schedules                                   # digits, offline
    python -m experiments.noise_schedules --only schedules --epochs 50
    python -m experiments.noise_schedules --preset small --data-dir FOLDER  # MNIST
    python -m experiments.noise_schedules --preset paper --data-dir FOLDER  # for a GPU
    python -m experiments.noise_schedules --preset paper --data imagenet --data-dir FOLDER
"""

from ._config import Config as Config
from ._run import run as run
