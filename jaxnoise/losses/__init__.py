"""Losses of one example each, (B,), the mean over examples left to the caller.

Those of classification take (outputs, batch), those of images and volumes (outputs, targets), those
of adversarial training scores.
"""

from ._adversarial import gan as gan
from ._adversarial import least_squares_gan as least_squares_gan
from ._classification import classification as classification
from ._classification import cross_entropy as cross_entropy
from ._images import l1 as l1
from ._images import l2 as l2
from ._segmentation import binary_cross_entropy as binary_cross_entropy
from ._segmentation import dice as dice
from ._segmentation import dice_bce as dice_bce
