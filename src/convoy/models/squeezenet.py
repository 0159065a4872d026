"""SqueezeNet: 1x1 convolutions reduce the number of channels before 3x3 convolutions.

Paper: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and <0.5MB model size", 2016. https://arxiv.org/abs/1602.07360. Version 1.1, with earlier pooling and a smaller first
kernel, is by the same authors. https://github.com/forresti/SqueezeNet/tree/master/SqueezeNet_v1.1
Differs from the paper: the first convolution keeps the size unless `stem = "paper"`; no ReLU between the last
convolution and the global average unless `relu_output`, because a class whose map is negative for every image would
have no gradient. `residual` is the paper's simple bypass. Initial weights are Kaiming uniform; those of the last
convolution are normal with standard deviation 0.01.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, checked_rate, choice, init_weights
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))  # squeezed, expanded
# Channels and kernel of the first convolution, indices of the fire modules after pooling, and the smallest image in
# pixels for the paper's stem, whose convolution has no padding.
VERSIONS = {"1.0": (96, 7, (0, 3, 7), 21), "1.1": (64, 3, (0, 2, 4), 17)}


class Fire(nn.Module):
    def __init__(self, in_chans: int, squeezed: int, expanded: int, style: Style, *, residual: bool) -> None:
        super().__init__()
        self.squeeze = style.conv_norm_act(in_chans, squeezed, 1)
        self.expand1 = style.conv_norm_act(squeezed, expanded, 1)
        self.expand3 = style.conv_norm_act(squeezed, expanded, 3)
        self.residual = residual and in_chans == 2 * expanded  # every second module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = self.squeeze(x)
        y = torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)  # (N, 2 * expanded, H, W)
        return x + y if self.residual else y


class SqueezeNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        version: str = "1.1",
        drop_rate: float = 0.5,
        residual: bool = False,
        norm: str = "none",
        activation: str = "relu",
        relu_output: bool = False,
        stem: str = "small",
    ) -> None:
        super().__init__()
        width, kernel, after_pool, smallest = choice("version", version, VERSIONS)
        stride, padding = choice("stem", stem, {"small": (1, kernel // 2), "paper": (2, 0)})
        if stem == "paper" and geometry.image_size < smallest:
            raise ValueError(
                _(
                    "images of {image_size} pixels are too small for stem = 'paper': at least {smallest}",
                    image_size=geometry.image_size,
                    smallest=smallest,
                )
            )
        style = Style(norm, activation)
        first = nn.Conv2d(geometry.in_chans, width, kernel, stride, padding, bias=norm == "none")
        self.features = nn.Sequential(nn.Sequential(first, *style.norm_act(width)))
        for index, (squeezed, expanded) in enumerate(FIRES):
            if index in after_pool:
                self.features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            self.features.append(Fire(width, squeezed, expanded, style, residual=residual))
            width = 2 * expanded
        last = nn.Conv2d(width, geometry.num_classes, 1)
        self.head = nn.Sequential(nn.Dropout(checked_rate("drop_rate", drop_rate)), last)
        if relu_output:
            self.head.append(nn.ReLU())
        init_weights(self, nn.init.kaiming_uniform_)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.features(x))  # (N, classes, H/8, W/8)
        return x.mean(dim=(2, 3))  # (N, classes)
