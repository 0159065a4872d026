"""DenseNet: each layer reads the outputs of all previous layers of its block.

Paper: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", 2017.
https://arxiv.org/abs/1608.06993
Differs from the paper: the stem of `densenet121`, `169` and `201` keeps the size of the map (see resnet.py) unless
`stem = "paper"`, and a transition keeps the last row of an odd map, so that either stem works with 28 pixels.
`densenet_bc_100_12` is the paper's network for CIFAR; `depth` and `growth` give its other variants. Dropout comes after
the 3x3 convolution of each layer, as in torchvision; in the paper, after all convolutions except the first.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import StemAndBlocks

BOTTLENECK = 4  # ratio: channels between the two convolutions of a layer / channels that the layer adds
STEM = 64  # channels of the stem of the ImageNet networks
GROWTH = 32  # channels that a layer of the ImageNet networks adds
LAYERS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}  # depth -> layers of each dense block


class DenseLayer(nn.Module):
    """Appends `growth` channels to its input."""

    def __init__(self, in_chans: int, growth: int, style: _blocks.Style) -> None:
        super().__init__()
        hidden = BOTTLENECK * growth
        self.branch = nn.Sequential(
            style.norm_act(in_chans), style.conv(in_chans, hidden, 1),
            style.norm_act(hidden), style.conv(hidden, growth, 3),
            nn.Dropout(style.drop_rate),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.branch(x)], dim=1)  # (N, in + growth, H, W)


def init_fan_in(network: nn.Module) -> None:
    """Normal weights with variance 2 / fan-in, as in torchvision; biases 0.

    A layer has many more input than output channels; with fan-out, activations would grow from layer to layer.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    _blocks.zero_biases(network)


def trunk(in_chans: int, layers: tuple[int, ...], growth: int, style: _blocks.Style) -> tuple[nn.Sequential, int]:
    """Returns dense blocks, transitions that halve channels and size, norm and activation; and the output channels."""
    parts = nn.Sequential()
    width = in_chans
    for block, count in enumerate(layers):
        if block > 0:
            parts.append(style.norm_act(width)).append(style.conv(width, width // 2, 1))
            parts.append(nn.AvgPool2d(2, ceil_mode=True))
            width //= 2
        for _ in range(count):
            parts.append(DenseLayer(width, growth, style))
            width += growth
    return parts.append(style.norm_act(width)), width


class DenseNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 121,
        stem: str = "small",
        drop_rate: float = 0.0,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        style = _blocks.Style(norm, activation, drop_rate=_blocks.checked_rate("drop_rate", drop_rate))
        layers = _blocks.choice("depth", depth, LAYERS)
        self.stem = _blocks.imagenet_stem(stem, geometry.in_chans, STEM, style.conv_norm_act)
        self.blocks, width = trunk(STEM, layers, GROWTH, style)
        self.head = nn.Linear(width, geometry.num_classes)
        init_fan_in(self)


class CifarDenseNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 100,
        growth: int = 12,
        drop_rate: float = 0.0,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        _blocks.checked_count("growth", growth)
        layers = (_blocks.blocks_of_stage(depth, 6, 4),) * 3
        style = _blocks.Style(norm, activation, drop_rate=_blocks.checked_rate("drop_rate", drop_rate))
        self.stem = style.conv(geometry.in_chans, 2 * growth, 3)
        self.blocks, width = trunk(2 * growth, layers, growth, style)
        self.head = nn.Linear(width, geometry.num_classes)
        init_fan_in(self)
