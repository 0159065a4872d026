"""MobileNet V1: depthwise and pointwise convolutions replace full convolutions.

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017.
https://arxiv.org/abs/1704.04861
Differs from the paper: as in the classics experiment on MNIST, images are enlarged 2x before the paper's strides, and
dropout of 0.5 comes before the linear layer. `upsample = 1` with `stem = "small"` does not enlarge them and skips the
first two of five downsampling steps. Initial weights are torch's default.
"""

from itertools import pairwise

import torch
from torch import nn

from convoy.models._blocks import Style, Upsample, checked_rate, init_for_norm, scaled_channels, stem_strides
from convoy.models.entry import Geometry
from convoy.models.network import Network

WIDTHS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)  # the first full convolution, then 13 separable ones
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def separable(in_chans: int, out_chans: int, stride: int, style: Style) -> nn.Sequential:
    depthwise = style.conv_norm_act(in_chans, in_chans, 3, stride, groups=in_chans)
    return nn.Sequential(depthwise, style.conv_norm_act(in_chans, out_chans, 1))


class MobileNetV1(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        width_mult: float = 1.0,
        upsample: int = 2,
        drop_rate: float = 0.5,
        norm: str = "batch",
        activation: str = "relu",
        stem: str = "paper",
    ) -> None:
        super().__init__()
        widths = [scaled_channels(width, width_mult) for width in WIDTHS]
        strides = stem_strides(stem, STRIDES)
        self.upsample = Upsample(upsample)
        style = Style(norm, activation)
        self.features = nn.Sequential(style.conv_norm_act(geometry.in_chans, widths[0], 3, strides[0]))
        for (in_chans, out_chans), stride in zip(pairwise(widths), strides[1:], strict=True):
            self.features.append(separable(in_chans, out_chans, stride, style))
        self.dropout = nn.Dropout(checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(widths[-1], geometry.num_classes)
        init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(self.upsample(x))  # (N, 1024, H/16, W/16)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
