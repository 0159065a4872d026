"""The ResNet paper's narrow networks for 32 pixels: three stages of 16, 32 and 64 channels.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2.
https://arxiv.org/abs/1512.03385
Differs from the paper: nothing by default. A shortcut between different shapes takes every second pixel and appends
zero channels, without parameters (the paper's option A); `shortcut = "projection"` is its option B. `depth` takes any
6n + 2. Initial weights follow He et al. 2015 (arXiv 1502.01852): without a norm the values double from block to block,
so use `norm = "none"` with at most 32 layers.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

from convoy.models._blocks import activation, attention, choice, conv_norm_act, init_fan_out
from convoy.models.entry import register

WIDTHS = (16, 32, 64)
SHORTCUTS = {"pad": False, "projection": True}  # whether a shortcut across a change of shape has weights
PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}  # by depth


class PadShortcut(nn.Module):
    """Every `stride`-th pixel of a map, with appended channels of zeros."""

    def __init__(self, extra_chans: int, stride: int) -> None:
        super().__init__()
        self.extra_chans = extra_chans
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_chans))


class BasicBlock(nn.Module):
    def __init__(
        self,
        in_chans: int,
        channels: int,
        stride: int,
        *,
        projects: bool,
        residual: bool,
        norm_word: str,
        act: str,
        attention_word: str,
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv_norm_act(in_chans, channels, 3, stride, norm_word=norm_word, act=act),
            conv_norm_act(channels, channels, 3, norm_word=norm_word, act=None),
            attention(attention_word, channels),
        )
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and in_chans != channels:
            self.shortcut = (
                conv_norm_act(in_chans, channels, 1, stride, norm_word=norm_word, act=None)
                if projects
                else PadShortcut(channels - in_chans, stride)
            )
        self.activation = activation(act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.branch(x)  # (N, channels, H/stride, W/stride)
        return self.activation(y + self.shortcut(x) if self.residual else y)


class CifarResNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        depth: int = 20,
        shortcut: str = "pad",
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
        attention: str = "none",
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(
                f"depth = {depth} in model.options: expected 6n + 2, with n blocks a stage: 8, 14, 20, ..."
            )
        projects = choice("shortcut", shortcut, SHORTCUTS)
        self.stem = conv_norm_act(in_chans, WIDTHS[0], 3, norm_word=norm, act=activation)
        self.blocks = nn.Sequential()
        width = WIDTHS[0]
        for channels in WIDTHS:
            for _ in range((depth - 2) // 6):
                block = BasicBlock(
                    width,
                    channels,
                    stride=1 if channels == width else 2,
                    projects=projects,
                    residual=residual,
                    norm_word=norm,
                    act=activation,
                    attention_word=attention,
                )
                self.blocks.append(block)
                width = channels
        self.head = nn.Linear(width, num_classes)
        init_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))  # (N, 64, H/4, W/4)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)


for depth, parameters in PARAMETERS.items():
    register(
        f"cifar_resnet{depth}",
        summary=f"ResNet-{depth} for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        source="https://arxiv.org/abs/1512.03385",
        parameters=parameters,
        counted_at=(3, 10, 32),
        smallest_image=4,
        presets={"depth": depth},
    )(CifarResNet)
