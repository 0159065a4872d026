"""Residual networks for ImageNet, and variants whose blocks end in an attention gate.

Papers: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015. https://arxiv.org/abs/1512.03385
SE: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", 2018. https://arxiv.org/abs/1709.01507
CBAM: Woo, Park, Lee, Kweon, "Convolutional Block Attention Module", 2018. https://arxiv.org/abs/1807.06521
Differs from the paper: the stem. By default (`stem = "small"`) its 7x7 convolution has stride 1 and no pooling follows,
so that 28 pixels end in a 4x4 map instead of one pixel. The parameters are those of the paper's network: `resnet18` has
the standard 11,175,370 on MNIST with either stem, and the weights of one load into the other. `stem = "paper"` halves
the map twice before the first block; `stem = "3x3"` is the convolution of most ResNets for CIFAR (11,173,962 parameters
on MNIST). In a bottleneck that halves the map, the 3x3 convolution has the stride, not the 1x1 before it, as in
torchvision. CBAM's spatial gate has no norm. Initial weights follow He et al. 2015 (arXiv 1502.01852), as in
torchvision, with `init = "he"`.

The classics experiment enlarges its images, uses dropout of 0.5 before the head, and has its own network,
`resnet18_shared`, with faulty shortcuts and torch's default initial weights. The same network without the fault is
`resnet18` with `stem = "paper", upsample = 2, drop_rate = 0.5, init = "default"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from convoy.models._blocks import (
    INITS,
    STEMS,
    Upsample,
    activation,
    attention,
    checked_rate,
    choice,
    conv_norm_act,
)
from convoy.models.entry import Option, register

RESNET = "https://arxiv.org/abs/1512.03385"
SQUEEZE_EXCITATION = "https://arxiv.org/abs/1709.01507"
CBAM = "https://arxiv.org/abs/1807.06521"

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck: output channels / inner channels
SHORTCUTS = {"projection": False, "shared": True}  # whether a shortcut shares its block's first convolution


class Plan(NamedTuple):
    blocks: tuple[int, int, int, int]  # of each width
    bottleneck: bool


PLANS = {
    18: Plan((2, 2, 2, 2), bottleneck=False),
    34: Plan((3, 4, 6, 3), bottleneck=False),
    50: Plan((3, 4, 6, 3), bottleneck=True),
    101: Plan((3, 4, 23, 3), bottleneck=True),
    152: Plan((3, 8, 36, 3), bottleneck=True),
}
MNIST, IMAGENET = (1, 10, 28), (3, 1000, 224)


class Variant(NamedTuple):
    parameters: int
    counted_at: tuple[int, int, int]
    presets: dict[str, Option]
    summary: str
    source: str = RESNET
    smallest_image: int = 8
    macs: int | None = None
    revision: int = 1


VARIANTS = {
    "resnet18": Variant(11_175_370, MNIST, {"depth": 18}, "ResNet-18, blocks of two 3x3 convolutions"),
    "resnet34": Variant(21_797_672, IMAGENET, {"depth": 34}, "ResNet-34, blocks of two 3x3 convolutions"),
    "resnet50": Variant(25_557_032, IMAGENET, {"depth": 50}, "ResNet-50, bottleneck blocks"),
    "resnet101": Variant(44_549_160, IMAGENET, {"depth": 101}, "ResNet-101, bottleneck blocks"),
    "resnet152": Variant(60_192_808, IMAGENET, {"depth": 152}, "ResNet-152, bottleneck blocks"),
    "resnet18_shared": Variant(
        11_001_546,
        MNIST,
        {"depth": 18, "shortcut": "shared", "stem": "paper", "upsample": 2, "drop_rate": 0.5, "init": "default"},
        "the classics experiment's ResNet-18: shortcuts share their block's first convolution",
        smallest_image=16,
        macs=135_763_968,
        revision=2,
    ),
    "se_resnet18": Variant(
        11_778_592,
        IMAGENET,
        {"depth": 18, "attention": "se"},
        "ResNet-18 with a gate over channels in each block",
        SQUEEZE_EXCITATION,
    ),
    "se_resnet50": Variant(
        28_088_024,
        IMAGENET,
        {"depth": 50, "attention": "se"},
        "ResNet-50 with a gate over channels in each block",
        SQUEEZE_EXCITATION,
    ),
    "cbam_resnet18": Variant(
        11_777_336,
        IMAGENET,
        {"depth": 18, "attention": "cbam"},
        "ResNet-18 with gates over channels and over places in each block",
        CBAM,
    ),
    "cbam_resnet50": Variant(
        28_073_544,
        IMAGENET,
        {"depth": 50, "attention": "cbam"},
        "ResNet-50 with gates over channels and over places in each block",
        CBAM,
    ),
}


@dataclass(frozen=True)
class Style:
    """Settings of all blocks of a network."""

    bottleneck: bool
    shares: bool
    residual: bool
    norm: str
    activation: str
    attention: str


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with a shortcut."""

    def __init__(self, in_chans: int, channels: int, stride: int, style: Style) -> None:
        super().__init__()
        out_chans = channels * EXPANSION if style.bottleneck else channels
        norm_word, act = style.norm, style.activation
        if style.bottleneck:
            self.branch = nn.Sequential(
                *conv_norm_act(in_chans, channels, 1, norm_word=norm_word, act=act),
                *conv_norm_act(channels, channels, 3, stride, norm_word=norm_word, act=act),
                *conv_norm_act(channels, out_chans, 1, norm_word=norm_word, act=None),
            )
        else:
            self.branch = nn.Sequential(
                *conv_norm_act(in_chans, channels, 3, stride, norm_word=norm_word, act=act),
                *conv_norm_act(channels, out_chans, 3, norm_word=norm_word, act=None),
            )
        self.attention = attention(style.attention, out_chans)
        self.residual = style.residual
        changes_shape = stride != 1 or in_chans != out_chans
        self.shares = style.residual and style.shares and changes_shape
        self.shortcut: nn.Module = nn.Identity()
        if style.residual and changes_shape and not style.shares:
            self.shortcut = conv_norm_act(in_chans, out_chans, 1, stride, norm_word=norm_word, act=None)
        self.activation = activation(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.attention(self.branch(x))  # (N, out, H/stride, W/stride)
        if self.shares:
            y = y + self.branch[0](x)  # the convolution without its norm, run again as in the report
        elif self.residual:
            y = y + self.shortcut(x)
        return self.activation(y)


class ResNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        depth: int = 18,
        stem: str = "small",
        shortcut: str = "projection",
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
        attention: str = "none",
        drop_rate: float = 0.0,
        upsample: int = 1,
        init: str = "he",
    ) -> None:
        super().__init__()
        blocks, bottleneck = planned(depth)
        shares = choice("shortcut", shortcut, SHORTCUTS)
        if shares and bottleneck:
            raise ValueError(
                f"shortcut = 'shared' in model.options: only blocks of depth 18 and 34 can, not of {depth}"
            )
        style = Style(bottleneck, shares, residual, norm, activation, attention)
        kernel, stride, pools = choice("stem", stem, STEMS)
        self.upsample = Upsample(upsample)
        self.stem = conv_norm_act(in_chans, WIDTHS[0], kernel, stride, norm_word=norm, act=activation)
        if pools:
            self.stem.append(nn.MaxPool2d(3, 2, padding=1))
        self.blocks = nn.Sequential()
        width = WIDTHS[0]
        for stage, (channels, count) in enumerate(zip(WIDTHS, blocks, strict=True)):
            for place in range(count):
                halves = stage > 0 and place == 0
                self.blocks.append(ResidualBlock(width, channels, 2 if halves else 1, style))
                width = channels * EXPANSION if bottleneck else channels
        self.dropout = nn.Dropout(checked_rate("drop_rate", drop_rate))
        self.head = nn.Linear(width, num_classes)
        choice("init", init, INITS)(self)
        if any(block.shares for block in self.blocks):
            self.flaws = (
                "the shortcut of each block that halves the map borrows the block's first convolution, without a norm, "
                "where a residual network has a projection of its own",
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(self.upsample(x)))  # (N, width, h, w)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)


def planned(depth: int) -> Plan:
    if depth not in PLANS:
        raise ValueError(f"depth = {depth} in model.options: expected one of {', '.join(map(str, PLANS))}")
    return PLANS[depth]


for name, variant in VARIANTS.items():
    register(
        name,
        summary=variant.summary,
        source=variant.source,
        parameters=variant.parameters,
        macs=variant.macs,
        revision=variant.revision,
        smallest_image=variant.smallest_image,
        counted_at=variant.counted_at,
        presets=variant.presets,
    )(ResNet)
