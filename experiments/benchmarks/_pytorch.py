"""The networks of `jaxnoise.models` in PyTorch: peers to measure against, twins to test against.

The layers of a twin bear the names that they have in the network it mirrors.
"""

# pyright: reportMissingImports=false
# PyTorch is an extra that the type checker may lack.

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._pytorch_weights import copy_weights as copy_weights
from ._pytorch_weights import read_weights as read_weights

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}


class FeedForward(nn.Module):
    """Two dense layers with ReLU and a linear read-out."""

    def __init__(self, num_classes: int = 10, image_size: int = 28, width: int = 256):
        super().__init__()
        self.dense1 = nn.Linear(image_size**2, width)
        self.dense2 = nn.Linear(width, width)
        self.readout = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, 1, H, W) to scores (B, num_classes)."""
        x = F.relu(self.dense1(x.flatten(1)))
        return self.readout(F.relu(self.dense2(x)))


class SmallCNN(nn.Module):
    """Two 5×5 convolutions with max-pooling, two dense layers and a linear read-out."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3, image_size: int = 32):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
        self.dense1 = nn.Linear(64 * (image_size // 4) ** 2, 384)
        self.dense2 = nn.Linear(384, 192)
        self.readout = nn.Linear(192, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to scores (B, num_classes)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)  # channels last, as the dense kernel has them
        x = F.relu(self.dense1(x))
        x = F.relu(self.dense2(x))
        return self.readout(x)


class ResNet18(nn.Module):
    """He et al.'s residual network with a 3×3 stem and no max-pooling."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3, width: int = 64):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList()
        features = width
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                self.blocks.append(_BasicBlock(features, width * 2**stage, stride))
                features = width * 2**stage
        self.readout = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to scores (B, num_classes)."""
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.readout(x.mean((2, 3)))


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, in_features: int, features: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_features, features, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_features != features:
            self.shortcut.append(nn.Conv2d(in_features, features, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(features))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class DenseNet121(nn.Module):
    """Huang et al.'s densely connected network with a 3×3 stem and no max-pooling."""

    def __init__(self, growth: int = 32, num_classes: int = 10, in_channels: int = 3):
        super().__init__()
        features = 2 * growth
        self.stem = nn.Conv2d(in_channels, features, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        for index, count in enumerate((6, 12, 24, 16)):
            if index > 0:
                self.blocks.append(_Transition(features))
                features //= 2
            for _ in range(count):
                self.blocks.append(_DenseLayer(features, growth))
                features += growth
        self.norm = nn.BatchNorm2d(features)
        self.readout = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, C, H, W) to scores (B, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(F.relu(self.norm(x)).mean((2, 3)))


class _DenseLayer(nn.Module):
    """Appends `growth` channels, by a 1×1 convolution to 4·growth and a 3×3 one."""

    def __init__(self, features: int, growth: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(features)
        self.conv1 = nn.Conv2d(features, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return torch.cat([x, y], 1)


class _Transition(nn.Module):
    """Halves the channels by a 1×1 convolution and the map by 2×2 average pooling."""

    def __init__(self, features: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(features)
        self.conv = nn.Conv2d(features, features // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class UNet(nn.Module):
    """Ronneberger et al.'s U-Net with zero-padded convolutions, for images or volumes."""

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        width: int = 64,
        ndim: int = 2,
        levels: int = 4,
    ):
        super().__init__()
        channels = [width * 2**level for level in range(levels + 1)]
        self.pool = _MAX_POOL[ndim]
        self.encoder = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in range(levels):
            coarse, fine = channels[level + 1], channels[level]
            inputs = channels[level - 1] if level > 0 else in_channels
            self.encoder.append(_DoubleConv(inputs, fine, ndim))
            self.up.append(_TRANSPOSED[ndim](coarse, fine, 2, stride=2))
            self.decoder.append(_DoubleConv(2 * fine, fine, ndim))
        self.bottom = _DoubleConv(channels[-2], channels[-1], ndim)
        self.readout = _CONVOLUTION[ndim](width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images (B, in_channels, …) to images (B, out_channels, …)."""
        features = []
        for block in self.encoder:
            features.append(block(x))
            x = self.pool(features[-1], 2)
        x = self.bottom(x)
        for level in reversed(range(len(features))):
            x = self.decoder[level](torch.cat([features[level], self.up[level](x)], 1))
        return self.readout(x)


class _DoubleConv(nn.Module):
    """Two 3×3 convolutions, each with ReLU."""

    def __init__(self, in_features: int, features: int, ndim: int):
        super().__init__()
        self.conv1 = _CONVOLUTION[ndim](in_features, features, 3, padding=1)
        self.conv2 = _CONVOLUTION[ndim](features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))))


class NucleiUNet(nn.Module):
    """Fu et al.'s 3-D U-Net for nuclei."""

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, width: int = 8, levels: int = 3
    ):
        super().__init__()
        channels = [width * 2**level for level in range(levels)]
        self.encoder = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level, features in enumerate(channels):
            inputs = channels[level - 1] if level > 0 else in_channels
            self.encoder.append(_NormedDoubleConv(inputs, features))
            self.up.append(_Up(features))
            self.decoder.append(_NormedDoubleConv(2 * features, features))
        self.bridge = _NormedDoubleConv(channels[-1], 2 * channels[-1])
        self.readout = nn.Conv3d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps volumes (B, in_channels, D, H, W) to (B, out_channels, D, H, W) within 0…1."""
        features = []
        for block in self.encoder:
            features.append(block(x))
            x = F.max_pool3d(features[-1], 2)
        x = self.bridge(x)
        for level in reversed(range(len(features))):
            x = self.decoder[level](torch.cat([features[level], self.up[level](x)], 1))
        return torch.sigmoid(self.readout(x))


class _NormedDoubleConv(nn.Module):
    """Convolution, normalisation, LeakyReLU, convolution, normalisation."""

    def __init__(self, in_features: int, features: int):
        super().__init__()
        self.conv1 = nn.Conv3d(in_features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(features)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1)
        self.norm2 = nn.BatchNorm3d(features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm1(self.conv1(x)), 0.2)
        return self.norm2(self.conv2(x))


class _Up(nn.Module):
    """A transposed convolution that doubles the map and halves the channels to `features`."""

    def __init__(self, features: int):
        super().__init__()
        self.conv = nn.ConvTranspose3d(
            2 * features, features, 3, stride=2, padding=1, output_padding=1
        )
        self.norm = nn.BatchNorm3d(features)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)
