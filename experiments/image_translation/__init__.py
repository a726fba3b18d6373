"""Does trajectory regularization help adversarial training? Label maps translated into images.

Zhang, Qu, Chen, Metaxas, "Taming the Noisy Gradient: Train Deep Neural Networks with Small Batch
Sizes", IJCAI 2019, tables 2 and 3: pix2pix (Isola, Zhu, Zhou, Efros, "Image-to-Image Translation
with Conditional Adversarial Networks", 2017) at batch size 1, with TRAdam in place of Adam. The
inner schedule of TRAdam also lowers the mean step, to 0.293 of the learning rate for S = 10, so
there is a control that the paper lacks: Adam at that mean step. Compared are

- Adam; TRAdam in the form of the paper, and in that of its authors' code (twice the weight, and
  every epoch renews the anchor); Adam at TRAdam's mean step.

All start from the same parameters, see the examples in the same order, and take the same optimizer
for generator and discriminator. Settings of the paper: λ = 0.1, S = 10, learning rate 2e-4,
β₁ = 0.5, L1 weight 100. Any optax transformation can take their place, another one for either
player: `jaxnoise.training.fit` takes a dict of them.

The FCN-score asks a segmentation network to read the label map off a generated image. Pre-trained
scorers of the paper's kind are not to be had offline: an FCN-8s and a U-Net are trained here, on
the real pairs of the training part, and also read the real test images, for an upper bound. As in
pix2pix the generator makes test images in training mode: normalised by the statistics of the single
image and with dropout, its only noise (generators for images below 128 pixels, those of the presets
synthetic and small, have too few levels for layers with dropout).

    python -m experiments.image_translation                                     # facades, offline
    python -m experiments.image_translation --preset small --data-dir FOLDER    # DRIVE, ISBI-2012
    python -m experiments.image_translation --preset paper --data-dir FOLDER    # Cityscapes; GPU
"""

from ._config import Config as Config
from ._run import run as run
