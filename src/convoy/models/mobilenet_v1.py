"""MobileNet, the first version: a depthwise and a pointwise convolution replace each full one.

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017.
https://arxiv.org/abs/1704.04861
Differs from the paper: as in the classics experiment on MNIST, images are enlarged by 2 before the paper's strides, and
dropout of 0.5 comes before the linear layer. `upsample = 1` with `stem = "small"` does not enlarge them and skips the
first two of five downsampling steps. Initial weights are torch's default.
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models._blocks import Upsample, checked_rate, conv_norm_act, init_for_norm, scaled_channels, stem_strides
from convoy.models.entry import register

WIDTHS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)  # the first full convolution, then 13 separated ones
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def separable(in_chans: int, out_chans: int, stride: int, norm_word: str, act: str) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_act(in_chans, in_chans, 3, stride, groups=in_chans, norm_word=norm_word, act=act),
        conv_norm_act(in_chans, out_chans, 1, norm_word=norm_word, act=act),
    )


@register(
    "mobilenet_v1",
    summary="depthwise separable convolutions; images enlarged by two, dropout",
    source="https://arxiv.org/abs/1704.04861",
    parameters=3_216_650,
    macs=42_030_208,
    smallest_image=16,
)
class MobileNetV1(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
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
        self.features = nn.Sequential(conv_norm_act(in_chans, widths[0], 3, strides[0], norm_word=norm, act=activation))
        for before, width, stride in zip(widths, widths[1:], strides[1:], strict=False):
            self.features.append(separable(before, width, stride, norm, activation))
        self.dropout = nn.Dropout(checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(widths[-1], num_classes)
        init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(self.upsample(x))  # (N, 1024, H/16, W/16)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
