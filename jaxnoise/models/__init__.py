"""Networks (Flax NNX) and the seam that turns a model into pure functions."""

from .._convolution import conv_transpose as conv_transpose
from .._convolution import convolution as convolution
from ._classifiers import FeedForward as FeedForward
from ._classifiers import SmallCNN as SmallCNN
from ._densenet import DenseNet121 as DenseNet121
from ._nuclei import EncoderDecoder as EncoderDecoder
from ._nuclei import NucleiUNet as NucleiUNet
from ._parts import Apply as Apply
from ._parts import TrainLoss as TrainLoss
from ._patch import PatchDiscriminator as PatchDiscriminator
from ._residual_skip import ResidualSkipUNet as ResidualSkipUNet
from ._resnet import ResNet18 as ResNet18
from ._resnet import ResNet34 as ResNet34
from ._resnet import ResNet101 as ResNet101
from ._split import merge as merge
from ._split import split as split
from ._split import split_apply as split_apply
from ._split import split_train as split_train
from ._translation import Pix2PixGenerator as Pix2PixGenerator
from ._translation import ResNetGenerator as ResNetGenerator
from ._transposed import ConvTranspose as ConvTranspose
from ._unet import FCN as FCN
from ._unet import UNet as UNet
from ._wide_resnet import WideResNet as WideResNet
