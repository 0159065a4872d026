"""EfficientNet-B0: gated inverted residuals; width and depth are scaled together.

Paper: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019.
https://arxiv.org/abs/1905.11946
Differs from the paper: the first two of five downsampling steps are skipped unless `stem = "paper"`; the running
statistics of the norms have momentum 0.1 instead of 0.01, because a training here can have only a few hundred steps;
initial weights are torch's default.
"""

from __future__ import annotations

import math

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


@register(
    "efficientnet_b0",
    summary="gated inverted residuals with stochastic depth",
    source="https://arxiv.org/abs/1905.11946",
    parameters=5_288_548,
    counted_at=(3, 1000, 224),
    smallest_image=8,
)
class EfficientNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        drop_rate: float = 0.2,
        drop_path_rate: float = 0.2,  # it grows to this from 0 at the first block
        norm: str = "batch",
        activation: str = "silu",
        stem: str = "small",
    ) -> None:
        super().__init__()
        checked_rate("drop_path_rate", drop_path_rate)
        if not 0 < depth_mult < math.inf:
            raise ValueError(f"depth_mult = {depth_mult} in model.options: expected above 0")
        stem_stride, *strides = stem_strides(stem, [2, *(stride for *_, stride in STAGES)])
        total = sum(math.ceil(blocks * depth_mult) for *_, blocks, _ in STAGES)
        inner = choice("activation", activation, ACTIVATIONS)
        width = scaled_channels(STEM, width_mult)
        self.features = nn.Sequential(conv_norm_act(in_chans, width, 3, stem_stride, norm_word=norm, act=activation))
        for (expansion, kernel, channels, blocks, _), first_stride in zip(STAGES, strides, strict=True):
            out_chans = scaled_channels(channels, width_mult)
            for place in range(math.ceil(blocks * depth_mult)):
                hidden = width * expansion
                block = InvertedResidual(
                    width,
                    out_chans,
                    hidden=hidden,
                    kernel=kernel,
                    stride=first_stride if place == 0 else 1,
                    norm_word=norm,
                    act=activation,
                    gate=SqueezeExcitation(hidden, max(1, width // 4), inner=inner),
                    drop_path=drop_path_rate * (len(self.features) - 1) / total,
                )
                self.features.append(block)
                width = out_chans
        self.features.append(conv_norm_act(width, 4 * width, 1, norm_word=norm, act=activation))
        self.dropout = nn.Dropout(checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(4 * width, num_classes)
        init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 1280, H/8, W/8)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
