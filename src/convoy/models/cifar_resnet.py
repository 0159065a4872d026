"""The CIFAR networks of the ResNet paper: three stages of 16, 32 and 64 channels.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2.
https://arxiv.org/abs/1512.03385
Differences from the paper: none by default. A shortcut between different shapes takes every second pixel and appends
zero channels, without parameters (the paper's option A); `shortcut = "projection"` is its option B. `depth` can be any
6n + 2. Initial weights follow He et al. 2015 (arXiv 1502.01852). Without a norm, activations double from block to
block, so use `norm = "none"` with at most 32 layers.
"""

import torch
from torch import nn
from torch.nn.functional import pad

from convoy.models._blocks import Style, attention, blocks_of_stage, choice, init_fan_out, residual_stages
from convoy.models.entry import Geometry
from convoy.models.network import StemAndBlocks

WIDTHS = (16, 32, 64)
SHORTCUTS = {"pad": False, "projection": True}  # whether a shortcut between different shapes has weights


class PadShortcut(nn.Module):
    """Takes every `stride`-th pixel and appends channels of zeros."""

    def __init__(self, extra_chans: int, stride: int) -> None:
        super().__init__()
        self.extra_chans = extra_chans
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_chans))


class BasicBlock(nn.Module):
    def __init__(self, in_chans: int, channels: int, stride: int, style: Style, *, projects: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            style.conv_norm_act(in_chans, channels, 3, stride),
            style.conv_norm(channels, channels, 3),
            attention(style.attention, channels),
        )
        self.residual = style.residual
        self.shortcut: nn.Module = nn.Identity()
        if style.residual and in_chans != channels:
            extra = channels - in_chans
            self.shortcut = style.conv_norm(in_chans, channels, 1, stride) if projects else PadShortcut(extra, stride)
        self.activation = style.act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.branch(x)  # (N, channels, H/stride, W/stride)
        return self.activation(y + self.shortcut(x) if self.residual else y)


class CifarResNet(StemAndBlocks):
    def __init__(
        self,
        geometry: Geometry,
        *,
        depth: int = 20,
        shortcut: str = "pad",
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
        attention: str = "none",
    ) -> None:
        super().__init__()
        style = Style(norm, activation, residual=residual, attention=attention)
        projects = choice("shortcut", shortcut, SHORTCUTS)
        self.stem = style.conv_norm_act(geometry.in_chans, WIDTHS[0], 3)
        shapes = residual_stages(WIDTHS[0], WIDTHS, [blocks_of_stage(depth, 6, 2)] * len(WIDTHS))
        self.blocks = nn.Sequential(*(BasicBlock(*shape, style, projects=projects) for shape in shapes))
        self.head = nn.Linear(WIDTHS[-1], geometry.num_classes)
        init_fan_out(self)
