"""Six basic residual blocks and a 4x4 average pool: the residual network of the cifar-course experiment.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015. https://arxiv.org/abs/1512.03385
Differs from the paper: three stages of 64, 128 and 256 channels after a 3x3 stem without pooling; average pooling
halves the last map (to 4x4 for 32 pixels) instead of reducing it to one value. `residual = false` only removes the
shortcuts, which gives the paper's plain network.
"""

import torch
from torch import nn

from convoy.models._blocks import Style, checked_rate, make_pool, residual_stages
from convoy.models.entry import Geometry
from convoy.models.network import Network

WIDTHS = (64, 128, 256)  # widths of the stages, each of two blocks


class ResidualBlock(nn.Module):
    def __init__(self, in_chans: int, out_chans: int, stride: int, style: Style) -> None:
        super().__init__()
        self.residual = style.residual
        self.conv1 = style.conv(in_chans, out_chans, 3, stride)
        self.norm1 = style.norm_of(out_chans)
        self.conv2 = style.conv(out_chans, out_chans, 3)
        self.norm2 = style.norm_of(out_chans)
        self.activation = style.act()
        self.shortcut: nn.Module = nn.Identity()
        if style.residual and (stride != 1 or in_chans != out_chans):
            self.shortcut = style.conv_norm(in_chans, out_chans, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))
        return self.activation(y + self.shortcut(x) if self.residual else y)


class ResidualCNN(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        norm: str = "batch",
        activation: str = "relu",
        residual: bool = True,
        pool: str = "average",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        style = Style(norm, activation, residual=residual)
        self.stem = style.conv_norm_act(geometry.in_chans, WIDTHS[0], 3)
        shapes = residual_stages(WIDTHS[0], WIDTHS, [2] * len(WIDTHS))
        self.blocks = nn.Sequential(*(ResidualBlock(*shape, style) for shape in shapes))
        side = -(-geometry.image_size // 8)  # two strides and the pooling, each rounded up: 4 for 28 pixels as for 32
        self.head = nn.Sequential(
            make_pool(pool, 2, ceil_mode=True), nn.Flatten(),
            nn.Dropout(checked_rate("drop_rate", drop_rate)),
            nn.Linear(WIDTHS[-1] * side * side, geometry.num_classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))  # (N, C, H, W) -> (N, classes)
