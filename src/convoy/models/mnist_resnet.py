"""The light ResNet of the resnet-mnist experiment: three stages of two residual blocks.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015. https://arxiv.org/abs/1512.03385
Differs from the paper: a 3x3 stem of 32 channels without pooling, three stages (128, 256, 512), dropout after the norm
of each projection shortcut. The report's network also has a convolution that its forward pass never uses; here it is
an option.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, checked_rate, choice, residual_stages
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

STEM, WIDTHS = 32, (128, 256, 512)
DROP_PLACES = {"shortcut": (True, False), "head": (False, True), "both": (True, True)}  # in the shortcuts, in the head


class ResidualBlock(nn.Module):
    def __init__(self, in_chans: int, out_chans: int, stride: int, style: Style) -> None:
        super().__init__()
        self.conv1 = style.conv_norm(in_chans, out_chans, 3, stride)
        self.conv2 = style.conv_norm(out_chans, out_chans, 3)
        self.residual = style.residual
        self.shortcut: nn.Module = nn.Identity()
        if style.residual and (stride != 1 or in_chans != out_chans):
            self.shortcut = style.conv_norm(in_chans, out_chans, 1, stride).append(nn.Dropout(style.drop_rate))
        self.activation = style.act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.activation(self.conv1(x)))
        return self.activation(y + self.shortcut(x) if self.residual else y)


class MnistResNet(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        drop_rate: float = 0.1,
        drop_place: str = "shortcut",
        norm: str = "batch",
        activation: str = "relu",
        residual: bool = True,
        unused_layer: bool = False,
    ) -> None:
        super().__init__()
        rate = checked_rate("drop_rate", drop_rate)
        in_shortcut, in_head = choice("drop_place", drop_place, DROP_PLACES)
        style = Style(norm, activation, residual=residual, drop_rate=rate if in_shortcut else 0.0)
        self.stem = style.conv_norm_act(geometry.in_chans, STEM, 3)
        shapes = residual_stages(STEM, WIDTHS, [2] * len(WIDTHS))
        self.blocks = nn.Sequential(*(ResidualBlock(*shape, style) for shape in shapes))
        self.dropout = nn.Dropout(rate if in_head else 0.0)
        self.head = nn.Linear(WIDTHS[-1], geometry.num_classes)
        if unused_layer:
            self.unused = style.conv_norm(32, 128, 3)
            count = sum(parameter.numel() for parameter in self.unused.parameters())
            unused = _("a convolution 32->128 is built and never used: {n:,} parameters with its norm", n=count)
            self.flaws = (unused,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))  # (N, 512, H/4, W/4)
        return self.head(self.dropout(x.mean(dim=(2, 3))))  # (N, classes)
