"""Do skips flatten the landscape of a segmentation network, and do small batches end flatter?

Lu, Tong, "Visualized Insights into the Optimization Landscape of Fully Convolutional Networks",
AAAI 2019, tables 1–6 and figures 5–8. Five networks with the same encoder and decoder and more and
more skips between them (FCN-16s, 8s, 4s, U-Net, and a U-Net with residual modules on its skips) are
trained from the same seeds on the same patches, at batch size 16, some of them at 2, too. Two
claims are put to the test:

- skips flatten: FCN-16s is sharper than 8s, that than 4s, which is like the U-Net;
- small batches end flatter: every network is flatter after training at batch size 2 than at 16.

Networks are compared at equal training loss. Along the line from the last epoch above that loss to
the first one at or below it, the point is sought where the mean loss over the training patches is
the target: for each seed the highest of the lowest losses that the networks reached (for the batch
sizes: that the two trainings of a network reached).

Flatness is measured in ways that need not agree: C_ε-sharpness as the paper has it, (max L − L)/L
within |z_i| ≤ ε|w_i|, at the paper's ε and at smaller ones; that of Keskar et al. 2017 with its
guards; and the mean rise of the loss over planes of random directions, with filters of unit norm as
in the paper, and with filters of the norm of the network's own (Li et al. 2018), so that a
network's scale doesn't matter.

Two choices are ours. The loss compares the target with a sigmoid of the output: unbounded outputs
make C_ε a matter of how far the loss can be blown up, not of the landscape nearby. And the reduced
presets take the learning rate 0.2, because at the paper's 0.025 the networks with few skips don't
leave a constant output within their epochs.

The paper takes the best epoch on the test set; here a validation part chooses it. Data: drawn
membranes, vessels and drops, which need no download; the ISBI 2012 challenge and DRIVE. The paper's
raindrops are not to be had: here drops are rendered on photographs that scikit-learn and
scikit-image bring along.

    python -m experiments.fcn_landscapes                                                  # offline
    python -m experiments.fcn_landscapes --preset small --data isbi2012_em
    python -m experiments.fcn_landscapes --preset small --data drive raindrops --no-flatness
    python -m experiments.fcn_landscapes --preset paper                                   # GPU

The last three read the folder that JAXNOISE_DATA_DIR or --data-dir names.
"""

from ._config import Config as Config
from ._run import run as run
