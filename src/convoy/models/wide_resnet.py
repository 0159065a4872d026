"""Wide and shallow residual networks for 32 pixels.

Paper: Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146
Differs from the paper: nothing by default. `drop_rate` is the paper's dropout between the two convolutions of a block
(0.3 on CIFAR, 0.4 on SVHN). `depth` takes any 6n + 4, `widen_factor` any integer. Initial weights follow He et al. 2015
(arXiv 1502.01852).
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models._blocks import activation, checked_rate, init_fan_out, needs_bias, norm
from convoy.models.entry import register

WIDTHS = (16, 32, 64)  # times the factor
PARAMETERS = {(16, 8): 10_961_370, (28, 10): 36_479_194, (40, 4): 8_949_210}  # by depth and factor


def norm_act(channels: int, norm_word: str, act: str) -> nn.Sequential:
    return nn.Sequential(norm(norm_word, channels), activation(act))


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and activation; a projection reads the activated map."""

    def __init__(
        self,
        in_chans: int,
        channels: int,
        stride: int,
        *,
        drop_rate: float,
        residual: bool,
        norm_word: str,
        act: str,
    ) -> None:
        super().__init__()
        bias = needs_bias(norm_word)
        self.activate = norm_act(in_chans, norm_word, act)
        self.branch = nn.Sequential(
            nn.Conv2d(in_chans, channels, 3, stride, padding=1, bias=bias), norm_act(channels, norm_word, act),
            nn.Dropout(drop_rate), nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
        )  # fmt: skip
        self.residual = residual
        projects = residual and in_chans != channels
        self.projection = nn.Conv2d(in_chans, channels, 1, stride, bias=bias) if projects else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activated = self.activate(x)
        y = self.branch(activated)  # (N, channels, H/stride, W/stride)
        if not self.residual:
            return y
        return y + (x if self.projection is None else self.projection(activated))


class WideResNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        depth: int = 16,
        widen_factor: int = 8,
        drop_rate: float = 0.0,
        residual: bool = True,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(
                f"depth = {depth} in model.options: expected 6n + 4, with n blocks a stage: 10, 16, 22, ..."
            )
        if widen_factor < 1:
            raise ValueError(f"widen_factor = {widen_factor} in model.options: expected at least 1")
        checked_rate("drop_rate", drop_rate)
        width = WIDTHS[0]
        self.stem = nn.Conv2d(in_chans, width, 3, padding=1, bias=needs_bias(norm))
        self.blocks = nn.Sequential()
        for stage, channels in enumerate(factor * widen_factor for factor in WIDTHS):
            for place in range((depth - 4) // 6):
                block = WideBlock(
                    width,
                    channels,
                    stride=2 if stage > 0 and place == 0 else 1,
                    drop_rate=drop_rate,
                    residual=residual,
                    norm_word=norm,
                    act=activation,
                )
                self.blocks.append(block)
                width = channels
        self.activate = norm_act(width, norm, activation)
        self.head = nn.Linear(width, num_classes)
        init_fan_out(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activate(self.blocks(self.stem(x)))  # (N, width, H/4, W/4)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)


for (depth, factor), parameters in PARAMETERS.items():
    register(
        f"wide_resnet{depth}_{factor}",
        summary=f"wide ResNet-{depth}, {factor} times the channels of a CIFAR ResNet",
        source="https://arxiv.org/abs/1605.07146",
        parameters=parameters,
        counted_at=(3, 10, 32),
        smallest_image=4,
        presets={"depth": depth, "widen_factor": factor},
    )(WideResNet)
