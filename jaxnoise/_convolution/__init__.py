"""Convolution and transposed convolution whose derivatives stay fast inside compiled loops."""

from ._functions import conv_transpose as conv_transpose
from ._functions import convolution as convolution
from ._patches import patches as patches
