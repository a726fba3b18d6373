"""Does a run that is killed end as if it had never stopped?

Small jobs run in processes of their own, which are killed (SIGKILL, which leaves no time to tidy
up) at random moments and started again until they come to their end. What they leave, parameters,
optimizer state, random keys, history, checkpoints and files, is compared bit for bit with what the
same job leaves that was let alone; only the seconds it took are left out.

- stages: `jn.training.fit`, TRSGD with momentum, one iterate drawn at random, two stages;
- replicas: the same from two seeds in one program;
- stream: the same from a stream of examples;
- gan: CycleGAN, with its pools of older images;
- grid: `jn.landscape.loss_grid` with its file;
- noise_profile: twenty of `jn.gradients.noise_profile`, which keeps nothing on the way, saved one
  after the other in the same file;
- parts: an experiment's folder, with its finished parts, checkpoints and curves.

    python -m experiments.kills
    python -m experiments.kills --kills 100 --only gan

Half of the kills come at moments drawn evenly from the time that the job takes, the others in the
course of a save drawn evenly. A run is killed up to three times, and each time all files under
their final names must be whole. Expect no difference at all.
"""

from ._config import Config as Config
from ._run import run as run
