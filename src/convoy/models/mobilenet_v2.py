"""MobileNetV2: shortcuts between narrow maps, depthwise convolutions on wide maps, no activation on narrow maps.

Paper: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
https://arxiv.org/abs/1801.04381
Differs from the paper: the first two of five downsampling steps are skipped unless `stem = "paper"`; initial weights
are torch's default.
"""

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network

STEM, LAST = 32, 1280
STAGES = (  # expansion, channels, blocks, stride of the first: the paper's table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        width_mult: float = 1.0,
        drop_rate: float = 0.2,
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu6",
        stem: str = "small",
    ) -> None:
        super().__init__()
        stem_stride, *strides = _blocks.stem_strides(stem, [2, *(stride for *_, stride in STAGES)])
        width = _blocks.scaled_channels(STEM, width_mult)
        style = _blocks.Style(norm, activation, residual=residual)
        self.features = nn.Sequential(style.conv_norm_act(geometry.in_chans, width, 3, stem_stride))
        for (expansion, channels, blocks, _), first_stride in zip(STAGES, strides, strict=True):
            for block in range(blocks):
                widths = (width, width * expansion, _blocks.scaled_channels(channels, width_mult))
                stride = first_stride if block == 0 else 1
                self.features.append(_blocks.InvertedResidual(widths, 3, stride, style))
                width = widths[-1]
        last = _blocks.scaled_channels(LAST, max(1.0, width_mult))  # narrow networks keep the paper's last layer
        self.features.append(style.conv_norm_act(width, last, 1))
        self.dropout = nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(last, geometry.num_classes)
        _blocks.init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 1280, H/8, W/8)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
