"""Nuclei segmented in three dimensions, by a network that never saw a segmentation by hand.

Fu, Lee, Ho, Han, Salama, Dunn, Delp, "Three Dimensional Fluorescence Microscopy Image Synthesis and
Segmentation", CVPR Workshops 2018. The way from a stack of fluorescence images to labelled nuclei
has six steps, each a command that reads what those before it wrote and leaves files to look at:

    synthesize   draws volumes of ellipsoids, and brings the microscope's volumes to 8 bits
    train-gan    trains SpCycleGAN and CycleGAN, which give drawn nuclei the microscope's look
    generate     maps the drawn nuclei to synthetic microscopy
    train-unet   trains 3-D networks on pairs of synthetic microscopy and drawn nuclei
    segment      segments the microscope's volumes by windows and labels the nuclei
    evaluate     scores them, where there is ground truth, and writes report.html

`all` does them one after another. Compared are, as in the paper, the spatial constraint of
SpCycleGAN with none, Dice, cross-entropy and both as the loss, networks with and without skips, few
volumes and many, with and without the removal of small components, and classical methods; besides
them networks trained on volumes that `jaxnoise.volumes.render` draws without having seen the
microscope's, and, where the training volumes come with ground truth, on these.

    python -m experiments.nuclei3d all                                    # drawn, offline, minutes
    python -m experiments.nuclei3d all --preset small --data-dir FOLDER   # BBBC050: embryos
    python -m experiments.nuclei3d all --preset paper --data-dir FOLDER   # rat kidney; for a GPU
"""

from ._config import Config as Config
from ._run import run as run
