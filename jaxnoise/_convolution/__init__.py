"""Convolution and transposed convolution whose derivatives stay fast inside compiled loops."""

from ._functions import conv_transpose as conv_transpose
from ._functions import convolution as convolution
from ._gram import patch_products as patch_products
from ._gram import work_of_patch_products as work_of_patch_products
from ._maps import convolution_map as convolution_map
