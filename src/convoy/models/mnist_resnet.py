"""The light ResNet of the resnet-mnist experiment: three stages of two residual blocks.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015. https://arxiv.org/abs/1512.03385
Differs from the paper: a 3x3 stem of 32 channels without pooling, three stages (128, 256, 512), dropout behind the norm
of each projection shortcut. The report also builds a convolution that forward never reaches, here an option.
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models.entry import register

SOURCE = "https://arxiv.org/abs/1512.03385"
STAGES = ((128, 1), (256, 2), (512, 2))  # channels, stride of the first block


def conv_bn(in_chans: int, out_chans: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_chans, out_chans, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_chans))


class ResidualBlock(nn.Module):
    def __init__(self, in_chans: int, out_chans: int, stride: int, drop_rate: float) -> None:
        super().__init__()
        self.conv1 = conv_bn(in_chans, out_chans, 3, stride)
        self.conv2 = conv_bn(out_chans, out_chans, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_chans != out_chans:
            self.shortcut = conv_bn(in_chans, out_chans, 1, stride).append(nn.Dropout(drop_rate))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.conv1(x).relu())
        return (y + self.shortcut(x)).relu()


@register(
    "mnist_resnet_published",
    summary="mnist_resnet as its report has it: with a layer that is never used",
    source=SOURCE,
    parameters=11_020_650,
    smallest_image=4,
    presets={"unused_layer": True},
)
@register(
    "mnist_resnet",
    summary="light ResNet: stages of 128, 256 and 512 channels, dropout in the shortcuts",
    source=SOURCE,
    parameters=10_983_530,
    smallest_image=4,
)
class MnistResNet(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        drop_rate: float = 0.1,
        unused_layer: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= drop_rate < 1:
            raise ValueError(f"drop_rate = {drop_rate} in model.options of mnist_resnet: must be in [0, 1)")
        self.stem = conv_bn(in_chans, 32, 3).append(nn.ReLU())
        blocks: list[nn.Module] = []
        width = 32
        for channels, stride in STAGES:
            blocks += [ResidualBlock(width, channels, stride, drop_rate), ResidualBlock(channels, channels, 1, 0.0)]
            width = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, num_classes)
        if unused_layer:
            self.unused = conv_bn(32, 128, 3)
            self.flaws = ("a convolution 32->128 with its norm is built and never used: 37,120 parameters",)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))  # (N, 512, H/4, W/4)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)
