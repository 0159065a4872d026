"""MobileNetV3: inverted residuals of searched widths, some gated, hard swish where the maps are small.

Paper: Howard et al., "Searching for MobileNetV3", 2019. https://arxiv.org/abs/1905.02244
Differs from the paper: the first two of five downsampling steps are skipped unless `stem = "paper"`; the running
statistics of the norms have momentum 0.1 instead of 0.01, because a training here can have only a few hundred steps;
initial weights are torch's default.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from convoy.models._blocks import (
    ACTIVATIONS,
    InvertedResidual,
    SqueezeExcitation,
    checked_rate,
    choice,
    conv_norm_act,
    init_for_norm,
    scaled_channels,
    stem_strides,
)
from convoy.models.entry import register

SOURCE = "https://arxiv.org/abs/1905.02244"
STEM = 16
NORM_EPS = 1e-3  # the authors' own; torch's is 1e-5


class Row(NamedTuple):
    kernel: int
    hidden: int
    channels: int
    gated: bool
    hard_swish: bool  # the option `activation`; else ReLU
    stride: int


# fmt: off
LARGE = (  # the paper's table 1
    Row(3,  16,  16, False, False, 1),
    Row(3,  64,  24, False, False, 2),
    Row(3,  72,  24, False, False, 1),
    Row(5,  72,  40, True,  False, 2),
    Row(5, 120,  40, True,  False, 1),
    Row(5, 120,  40, True,  False, 1),
    Row(3, 240,  80, False, True,  2),
    Row(3, 200,  80, False, True,  1),
    Row(3, 184,  80, False, True,  1),
    Row(3, 184,  80, False, True,  1),
    Row(3, 480, 112, True,  True,  1),
    Row(3, 672, 112, True,  True,  1),
    Row(5, 672, 160, True,  True,  2),
    Row(5, 960, 160, True,  True,  1),
    Row(5, 960, 160, True,  True,  1),
)
SMALL = (  # its table 2
    Row(3,  16,  16, True,  False, 2),
    Row(3,  72,  24, False, False, 2),
    Row(3,  88,  24, False, False, 1),
    Row(5,  96,  40, True,  True,  2),
    Row(5, 240,  40, True,  True,  1),
    Row(5, 240,  40, True,  True,  1),
    Row(5, 120,  48, True,  True,  1),
    Row(5, 144,  48, True,  True,  1),
    Row(5, 288,  96, True,  True,  2),
    Row(5, 576,  96, True,  True,  1),
    Row(5, 576,  96, True,  True,  1),
)
# fmt: on
VARIANTS = {"large": (LARGE, 1280), "small": (SMALL, 1024)}  # blocks, width of the first linear layer


@register(
    "mobilenet_v3_large",
    summary="searched inverted residuals with gates and hard swish, the large one",
    source=SOURCE,
    parameters=5_483_032,
    counted_at=(3, 1000, 224),
    smallest_image=8,
    presets={"variant": "large"},
)
@register(
    "mobilenet_v3_small",
    summary="searched inverted residuals with gates and hard swish, the small one",
    source=SOURCE,
    parameters=2_542_856,
    counted_at=(3, 1000, 224),
    smallest_image=8,
    presets={"variant": "small"},
)
class MobileNetV3(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        variant: str = "large",
        width_mult: float = 1.0,
        drop_rate: float = 0.2,
        norm: str = "batch",
        activation: str = "hardswish",
        stem: str = "small",
    ) -> None:
        super().__init__()
        rows, head_width = choice("variant", variant, VARIANTS)
        stem_stride, *strides = stem_strides(stem, [2, *(row.stride for row in rows)])
        width = scaled_channels(STEM, width_mult)
        self.features = nn.Sequential(conv_norm_act(in_chans, width, 3, stem_stride, norm_word=norm, act=activation))
        for row, stride in zip(rows, strides, strict=True):
            hidden, out_chans = scaled_channels(row.hidden, width_mult), scaled_channels(row.channels, width_mult)
            gate = SqueezeExcitation(hidden, scaled_channels(hidden // 4, 1.0), gate=nn.Hardsigmoid)
            block = InvertedResidual(
                width,
                out_chans,
                hidden=hidden,
                kernel=row.kernel,
                stride=stride,
                norm_word=norm,
                act=activation if row.hard_swish else "relu",
                gate=gate if row.gated else None,
            )
            self.features.append(block)
            width = out_chans
        self.features.append(conv_norm_act(width, 6 * width, 1, norm_word=norm, act=activation))
        head_width = scaled_channels(head_width, width_mult)
        self.head = nn.Sequential(
            nn.Linear(6 * width, head_width),
            choice("activation", activation, ACTIVATIONS)(),
            nn.Dropout(checked_rate("drop_rate", drop_rate)),
            nn.Linear(head_width, num_classes),
        )
        init_for_norm(self, norm)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = NORM_EPS

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 6 * width, H/8, W/8)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)
