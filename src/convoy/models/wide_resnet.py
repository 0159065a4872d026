"""Wide and shallow residual networks for CIFAR.

Paper: Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146
Differences from the paper: none by default. `drop_rate` is the paper's dropout between the two convolutions of a block
(0.3 on CIFAR, 0.4 on SVHN). `depth` can be any 6n + 4, `widen_factor` any integer. Initial weights follow He et al.
2015 (arXiv 1502.01852).
"""

import torch
from torch import nn

from convoy.models._blocks import Style, blocks_of_stage, checked_count, checked_rate, init_fan_out, residual_stages
from convoy.models.entry import Geometry
from convoy.models.network import StemAndBlocks

WIDTHS = (16, 32, 64)  # times the factor


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and activation. A projection shortcut reads the activated map."""

    def __init__(self, in_chans: int, channels: int, stride: int, style: Style) -> None:
        super().__init__()
        self.activate = style.norm_act(in_chans)
        self.branch = nn.Sequential(
            style.conv(in_chans, channels, 3, stride), style.norm_act(channels),
            nn.Dropout(style.drop_rate), style.conv(channels, channels, 3),
        )  # fmt: skip
        self.residual = style.residual
        projects = style.residual and in_chans != channels
        self.projection = style.conv(in_chans, channels, 1, stride) if projects else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.activate(x)
        y = self.branch(activated)  # (N, channels, H/stride, W/stride)
        if not self.residual:
            return y
        return y + (x if self.projection is None else self.projection(activated))


class WideResNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 16,
        widen_factor: int = 8,
        drop_rate: float = 0.0,
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        blocks, factor = blocks_of_stage(depth, 6, 4), checked_count("widen_factor", widen_factor)
        style = Style(norm, activation, residual=residual, drop_rate=checked_rate("drop_rate", drop_rate))
        widths = [factor * width for width in WIDTHS]
        self.stem = style.conv(geometry.in_chans, WIDTHS[0], 3)
        shapes = residual_stages(WIDTHS[0], widths, [blocks] * len(widths))
        self.blocks = nn.Sequential(*(WideBlock(*shape, style) for shape in shapes))
        self.activate = style.norm_act(widths[-1])
        self.head = nn.Linear(widths[-1], geometry.num_classes)
        init_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activate(self.blocks(self.stem(x)))  # (N, width, H/4, W/4)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)
