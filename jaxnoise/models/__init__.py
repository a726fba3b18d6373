"""Networks (Flax NNX) and the seam that turns a model into pure functions."""

from ._classifiers import FeedForward as FeedForward
from ._classifiers import SmallCNN as SmallCNN
from ._convolution import convolution as convolution
from ._resnet import ResNet18 as ResNet18
from ._split import TrainLoss as TrainLoss
from ._split import merge as merge
from ._split import split as split
from ._split import split_train as split_train
