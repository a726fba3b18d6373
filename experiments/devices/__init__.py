"""What do more devices bring, and what would a paper-scale run need?

Five pieces of work run on 1, 2, 4 and 8 devices:

- batch: `jn.training.fit`, each batch spread over the devices;
- replicas: `jn.training.fit`, eight seeds spread over the devices;
- grid: `jn.landscape.loss_grid`, its points spread;
- noise: `jn.gradients.noise_profile`, its examples spread;
- windows: `jn.volumes.sliding_window`, its windows spread.

Each is compiled before it is timed, and gives the seconds (median of several rounds), the speed-up
over one device, and the largest difference from what one device gives, which must not exceed the
tolerance stated.

    python -m experiments.devices
    python -m experiments.devices --preset large                     # a machine with accelerators
    srun python -m experiments.devices --preset large --distributed  # several machines

Where there is only a CPU the devices are simulated, each number of them in a process of its own.
They share the machine's cores, of which one device alone uses several: what is seen there is that
results agree and what spreading costs, not speed.

The second part is an estimate, from shapes alone: memory, computation and communication of a step
of WRN-28-10 on ImageNet-scale data over a pod of chips, and from how many images per chip on the
all-reduce is hidden. Assumptions are options (`--cluster.…`); their defaults are a TPU v5e pod's.
"""

from ._config import Config as Config
from ._run import run as run
