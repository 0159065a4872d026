"""ShuffleNetV2: half of the channels bypass each block, then both halves are interleaved.

Paper: Ma, Zhang, Zheng, Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018.
https://arxiv.org/abs/1807.11164
Differs from the paper: neither the first convolution nor the pooling after it halves the maps unless
`stem = "paper"`. Initial weights are torch's default.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, choice, init_for_norm
from convoy.models.entry import Geometry
from convoy.models.network import AveragingNetwork

STEM = 24
BLOCKS = (4, 8, 4)  # blocks of the three stages; the first block of each stage halves the maps
WIDTHS = {  # widths of the three stages and of the last convolution
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Interleaves the first and the second half of the channels."""
    count, channels, height, width = x.shape
    halves = x.view(count, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(count, channels, height, width)


class ShuffleBlock(nn.Module):
    """If `in_chans` != `out_chans`, the block halves the maps and both branches read all channels."""

    def __init__(self, in_chans: int, out_chans: int, style: Style) -> None:
        super().__init__()
        half = out_chans // 2
        self.splits = in_chans == out_chans
        stride = 1 if self.splits else 2
        self.passing = nn.Identity() if self.splits else nn.Sequential(
            style.conv_norm(in_chans, in_chans, 3, stride, groups=in_chans),
            style.conv_norm_act(in_chans, half, 1),
        )  # fmt: skip
        self.branch = nn.Sequential(
            style.conv_norm_act(half if self.splits else in_chans, half, 1),
            style.conv_norm(half, half, 3, stride, groups=half),
            style.conv_norm_act(half, half, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return shuffled(torch.cat([self.passing(left), self.branch(right)], dim=1))


class ShuffleNetV2(AveragingNetwork):
    def __init__(
        self,
        geometry: Geometry,
        *,
        width_mult: float = 1.0,
        norm: str = "batch",
        activation: str = "relu",
        stem: str = "small",
    ) -> None:
        super().__init__()
        *widths, last = choice("width_mult", width_mult, WIDTHS)
        stride, pool = choice("stem", stem, {"small": (1, nn.Identity()), "paper": (2, nn.MaxPool2d(3, 2, padding=1))})
        style = Style(norm, activation)
        self.features = nn.Sequential(style.conv_norm_act(geometry.in_chans, STEM, 3, stride), pool)
        in_chans = STEM
        for width, blocks in zip(widths, BLOCKS, strict=True):
            self.features.append(ShuffleBlock(in_chans, width, style))
            self.features.extend(ShuffleBlock(width, width, style) for _ in range(blocks - 1))
            in_chans = width
        self.features.append(style.conv_norm_act(in_chans, last, 1))
        self.head = nn.Linear(last, geometry.num_classes)
        init_for_norm(self, norm)
