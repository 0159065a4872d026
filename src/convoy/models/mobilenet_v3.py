"""MobileNetV3: inverted residuals from an architecture search, some with squeeze-and-excitation or hard swish.

Paper: Howard et al., "Searching for MobileNetV3", 2019. https://arxiv.org/abs/1905.02244
Differs from the paper: the first two of five downsampling steps are skipped unless `stem = "paper"`; the running
statistics of the norms have momentum 0.1 instead of 0.01, because a run can be as short as a few hundred steps;
initial weights are torch's default.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import nn

from convoy.models import _blocks
from convoy.models.entry import Geometry
from convoy.models.network import AveragingNetwork

STEM = 16
NORM_EPS = 1e-3  # as in the authors' code; torch's default is 1e-5


class Row(NamedTuple):
    kernel: int
    hidden: int
    channels: int
    gated: bool
    hard_swish: bool  # True: the option `activation`; False: ReLU
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
SMALL = (  # table 2 of the paper
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


class MobileNetV3(AveragingNetwork):
    def __init__(
        self,
        geometry: Geometry,
        *,
        variant: str = "large",
        width_mult: float = 1.0,
        drop_rate: float = 0.2,
        norm: str = "batch",
        activation: str = "hardswish",
        stem: str = "small",
    ) -> None:
        super().__init__()
        rows, head_width = _blocks.choice("variant", variant, VARIANTS)
        stem_stride, *strides = _blocks.stem_strides(stem, [2, *(row.stride for row in rows)])
        scaled = partial(_blocks.scaled_channels, factor=width_mult)
        width = scaled(STEM)
        style = _blocks.Style(norm, activation, epsilon=NORM_EPS)
        relu = replace(style, activation="relu")
        self.features = nn.Sequential(style.conv_norm_act(geometry.in_chans, width, 3, stem_stride))
        for row, stride in zip(rows, strides, strict=True):
            hidden = scaled(row.hidden)
            widths = (width, hidden, scaled(row.channels))
            gate = _blocks.SqueezeExcitation(hidden, _blocks.scaled_channels(hidden // 4, 1.0), gate=nn.Hardsigmoid)
            block_style, block_gate = style if row.hard_swish else relu, gate if row.gated else None
            self.features.append(_blocks.InvertedResidual(widths, row.kernel, stride, block_style, block_gate))
            width = widths[-1]
        self.features.append(style.conv_norm_act(width, 6 * width, 1))
        head_width = scaled(head_width)
        self.head = nn.Sequential(
            nn.Linear(6 * width, head_width),
            style.act(),
            nn.Dropout(_blocks.checked_rate("drop_rate", drop_rate)),
            nn.Linear(head_width, geometry.num_classes),
        )
        _blocks.init_for_norm(self, norm)
