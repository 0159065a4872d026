"""EfficientNet-B0: inverted residuals with squeeze-and-excitation; larger networks scale width and depth together.

Paper: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019.
https://arxiv.org/abs/1905.11946
Differs from the paper: the first two of five downsampling steps are skipped unless `stem = "paper"`; the running
statistics of the norms have momentum 0.1 instead of 0.01, because a run can be as short as a few hundred steps;
initial weights are torch's default.
"""

import math

import torch
from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import Network

STEM = 32
STAGES = (  # expansion, kernel, channels, blocks, stride of the first: the paper's table 1
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


class EfficientNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.2,
        norm: str = "batch",
        activation: str = "silu",
        stem: str = "small",
    ) -> None:
        super().__init__()
        _blocks.checked_rate("drop_path_rate", drop_path_rate)
        _blocks.checked_factor("depth_mult", depth_mult)
        stem_stride, *strides = _blocks.stem_strides(stem, [2, *(stride for *_, stride in STAGES)])
        total = sum(math.ceil(blocks * depth_mult) for *_, blocks, _ in STAGES)
        inner = _blocks.choice("activation", activation, _blocks.ACTIVATIONS)
        style = _blocks.Style(norm, activation)
        width = _blocks.scaled_channels(STEM, width_mult)
        self.features = nn.Sequential(style.conv_norm_act(geometry.in_chans, width, 3, stem_stride))
        for (expansion, kernel, channels, blocks, _), first_stride in zip(STAGES, strides, strict=True):
            for block in range(math.ceil(blocks * depth_mult)):
                widths = (width, width * expansion, _blocks.scaled_channels(channels, width_mult))
                gate = _blocks.SqueezeExcitation(width * expansion, max(1, width // 4), inner=inner)
                stride = first_stride if block == 0 else 1
                drop_path = drop_path_rate * (len(self.features) - 1) / total  # grows from 0 at the first block
                self.features.append(_blocks.InvertedResidual(widths, kernel, stride, style, gate, drop_path=drop_path))
                width = widths[-1]
        self.features.append(style.conv_norm_act(width, 4 * width, 1))
        self.dropout = nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(4 * width, geometry.num_classes)
        _blocks.init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 1280, H/8, W/8)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
